"""What a trial must leave as it found it: the state of its process, and the knowledge it was given.

Trials of one process share both. A method that changes them would change the numbers of other
methods; here that is found out after each trial, is that trial's failure, and is put right.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bench.errors import Interrupted, KnowledgeWritten, LeftBehind, Terminated
from bench.signals import ARRAYS
from bench.students.dropout import Dropout

if TYPE_CHECKING:
    from bench.training.loop import Fit


class _Switch(NamedTuple):
    """Something that holds for the whole process and may change what a trial computes."""

    get: Callable[[], Any]
    set: Callable[[Any], object]
    clean: Any


_SWITCHES = {
    "torch's default dtype": _Switch(
        torch.get_default_dtype, torch.set_default_dtype, torch.float32
    ),
    "torch's default device": _Switch(
        torch.get_default_device, torch.set_default_device, torch.device("cpu")
    ),
    "whether gradients are computed": _Switch(torch.is_grad_enabled, torch.set_grad_enabled, True),
    "torch's deterministic algorithms": _Switch(
        torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, 0
    ),
    "torch's anomaly detection": _Switch(
        torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly, False
    ),
    "torch's autocast on the CPU": _Switch(
        lambda: torch.is_autocast_enabled("cpu"),
        lambda on: torch.set_autocast_enabled("cpu", on),
        False,
    ),
    **{
        f"torch.backends.cudnn.{name}": _Switch(
            partial(getattr, torch.backends.cudnn, name),
            partial(setattr, torch.backends.cudnn, name),
            clean,
        )
        for name, clean in (("enabled", True), ("benchmark", False), ("deterministic", False))
    },
    "what NumPy does on errors": _Switch(
        np.geterr,
        lambda kinds: np.seterr(**kinds),
        {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"},
    ),
}

_SIGNALS = [signal.SIGINT, signal.SIGTERM]
_MAPPED = {one.attribute for one in ARRAYS if one.mapped}


@contextlib.contextmanager
def clean_process(threads: int, seed: int) -> Iterator[list[str]]:
    """Run a trial in a process that is as if no other had run in it.

    Afterwards all is as it was before.

    Args:
        threads: for torch on the CPU.
        seed: of the generators of Python and NumPy, which the suite itself draws nothing from.

    Yields:
        What is no failure but should be known, a sentence each; complete after the trial.

    Raises:
        LeftBehind: the trial went well, and left something changed that numbers depend on.
    """
    switches = {
        **_SWITCHES,
        "torch's threads": _Switch(torch.get_num_threads, torch.set_num_threads, threads),
    }
    notes: list[str] = []
    with _surroundings(notes), torch.inference_mode(False), torch.enable_grad():
        before = {name: switch.get() for name, switch in switches.items()}
        for switch in switches.values():
            _turn(switch, switch.clean)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 - for methods that draw from it
        try:
            yield notes
            left = {name: switch.get() for name, switch in switches.items()}
        finally:
            for name, switch in switches.items():
                _turn(switch, before[name])
    changed = [
        f"{name} ({switch.clean} before, {left[name]} after)"
        for name, switch in switches.items()
        if left[name] != switch.clean
    ]
    if changed:
        raise LeftBehind(
            f"the method changed {', '.join(changed)}: that holds for the whole process, where "
            "other trials follow. Change it back where it is not needed any more, such as in a "
            "`with` block"
        )


def _turn(switch: _Switch, value: Any) -> None:
    if switch.get() == value:
        return
    # The CPU is what no default device means; set by name, every call of torch would cost more.
    switch.set(None if value == torch.device("cpu") else value)


@contextlib.contextmanager
def _surroundings(notes: list[str]) -> Iterator[None]:
    """Put back what numbers hardly depend on: variables, folder, signals, standard streams."""
    variables, folder = dict(os.environ), Path.cwd()
    streams = sys.stdout, sys.stderr
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        for number, handler in handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)
                notes.append(f"it changed what {number.name} does, which was put back")
        if _folder() != folder:
            os.chdir(folder)
            notes.append("it changed the working folder, which was put back")
        if changed := sorted(
            name
            for name in variables.keys() | os.environ.keys()
            if variables.get(name) != os.environ.get(name)
        ):
            os.environ.clear()
            os.environ.update(variables)
            listed = ", ".join(changed)
            notes.append(f"it changed variables of the environment, which were put back: {listed}")


def _folder() -> Path | None:
    try:
        return Path.cwd()
    except OSError:  # it was removed
        return None


@contextlib.contextmanager
def unwritten(given: Mapping[str, Tensor], shared: Mapping[str, Tensor]) -> Iterator[None]:
    """See that a trial writes into none of the tensors it is given.

    torch counts what it writes; what is written past its count, such as through `.data` or NumPy,
    is found by a hash of what the trials of a process share.

    Args:
        given: what the method reads, by name, on the device.
        shared: what of it lies on the CPU and is read by other trials too.

    Raises:
        KnowledgeWritten: one was written into, whether the trial failed besides or not.
    """
    hashes = {name: _hash(tensor) for name, tensor in shared.items() if name not in _MAPPED}
    versions = {name: tensor._version for name, tensor in given.items()}

    def check() -> None:
        written = [
            name
            for name, tensor in given.items()
            if _is_written(tensor, tensor._version != versions[name], hashes.get(name))
        ]
        if written:
            raise KnowledgeWritten(
                f"the method wrote into what it was given to read ({', '.join(written)}), which "
                "other trials read too: write into a copy (`tensor.clone()`)"
            )

    try:
        yield
    except (Interrupted, Terminated):
        raise
    except BaseException:
        check()
        raise
    check()


def _is_written(tensor: Tensor, counted: bool, before: str | None) -> bool:
    """Whether a tensor has changed; one that was written as it was before has not."""
    if before is None:
        return counted
    return (counted or tensor.device.type == "cpu") and _hash(tensor) != before


def _hash(tensor: Tensor) -> str:
    array = np.ascontiguousarray(tensor.detach().cpu().numpy())
    return hashlib.sha256(array.view(np.uint8).data).hexdigest()


def tensors_of(holder: object) -> dict[str, Tensor]:
    """The tensors among an object's attributes by name, as new objects that share their memory."""
    fields = vars(holder).items()
    return {name: value.detach() for name, value in fields if isinstance(value, Tensor)}


def dropout_of(student: nn.Module) -> dict[str, float]:
    """The probability of each module of a student that drops out, by the module's name."""
    return {
        name: module.p
        for name, module in student.named_modules()
        if isinstance(module, Dropout | nn.modules.dropout._DropoutNd)
    }


def notes_on_dropout(before: Mapping[str, float], student: nn.Module, fit: Fit) -> list[str]:
    """What a record must tell of a student that was trained without the dropout it was given.

    Args:
        before: `dropout_of` the student, before its method could change it.
        student: as it was trained.
        fit: how.
    """
    after = dropout_of(student)
    less = sorted(name for name, p in before.items() if after.get(name, 0.0) < p)
    notes = []
    if less:
        notes.append(f"the method took dropout from the student: {', '.join(less)}")
    if fit.epochs_without_dropout and any(before.values()):
        notes.append(
            f"the method switched the student's dropout off: it was off at the end of "
            f"{fit.epochs_without_dropout} of {fit.epochs} epochs"
        )
    return notes
