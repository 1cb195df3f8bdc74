"""Running one trial: data, student, teacher knowledge and method in, an outcome out."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.distillation import Knowledge, Method
from bench.errors import OutOfMemory
from bench.evaluation.latency import request_latency
from bench.evaluation.metrics import metrics_from_ranks, split_metrics
from bench.evaluation.ranking import SeenItems, all_ranks
from bench.evaluation.segments import segment_metrics
from bench.execution.finished import build_student
from bench.execution.hygiene import dropout_of, notes_on_dropout, tensors_of, unwritten
from bench.execution.method import method_config, reject_held_student
from bench.plan import derive_seed, seed_of
from bench.progress import recorded
from bench.records.record import Outcome
from bench.training.loop import Fit, Streams, fit
from bench.training.precision import products
from bench.training.rows import DeviceRows

if TYPE_CHECKING:
    from bench.data.examples import PreparedData
    from bench.plan import Trial
    from bench.students.adapter import Adapter
    from bench.training.state import Checkpoint

_logger = logging.getLogger(__name__)


def run_trial(
    trial: Trial,
    data: PreparedData,
    knowledge: Knowledge | None,
    method_class: type[Method],
    device_name: str,
    checkpoint: Checkpoint | None = None,
) -> Outcome:
    """Train one student under one method, choose its epoch, and rank the test examples once.

    Args:
        trial: what to run.
        data: the prepared examples of its dataset and protocol.
        knowledge: the teacher's signals on the CPU, or None for a method that needs none.
        method_class: the method that `trial.method` names.
        device_name: a torch device, such as `cpu` or `cuda:0`.
        checkpoint: keeps the state of the training; None begins at the beginning.

    Raises:
        Diverged: a loss or a score became NaN or infinite.
        OutOfMemory: the device's memory did not suffice.
        KnowledgeWritten: the method wrote into what it was given to read.
    """
    started, device = time.perf_counter(), torch.device(device_name)
    with contextlib.ExitStack() as stack:
        stack.enter_context(products("float32"))
        log = stack.enter_context(recorded())
        stack.enter_context(_memory_exhausted())
        splits = (data.train, data.valid, data.test)
        train, valid, test = (DeviceRows.of(rows, device) for rows in splits)
        counts = torch.from_numpy(data.target_counts()).to(device, torch.float32)
        shared = {} if knowledge is None else tensors_of(knowledge)
        known = Knowledge(target_counts=counts) if knowledge is None else knowledge.to(device)
        # Objects of its own: what a method does to them beside writing into them ends with it.
        own: dict[str, Any] = {**tensors_of(known)}
        known = replace(known, rows=replace(train), **own)
        rows = {f"rows.{name}": tensor for name, tensor in tensors_of(train).items()}
        stack.enter_context(unwritten({**tensors_of(known), **rows}, shared))
        student, method, dropout = _build(trial, data, known, method_class, device)
        chooser = (test if trial.training.selection == "oracle" else valid).sample(
            trial.training.validation_rows, seed_of("validation rows", trial.data_fingerprint)
        )
        seen = SeenItems.of(data.sequences, device)
        watched = seen if trial.seen == "mask" else None
        streams = _streams(trial, device)
        torch.manual_seed(derive_seed(trial, "dropout"))
        result = fit(
            student,
            method,
            train,
            counts,
            trial.training,
            streams,
            lambda: metrics_from_ranks(all_ranks(student, chooser, watched).under(trial.seen)),
            checkpoint,
        )
        started -= result.seconds_before
        trained = time.perf_counter()
        notes = notes_on_dropout(dropout, student, result)
        parameters = {"training": _count(student) + _count(method)}
        method.eval()
        student.eval()
        student.fold()
        parameters["inference"] = _count(student)
        ranks = all_ranks(student, test, seen)
        return Outcome(
            # Validation is ranked again: the curve has the student before folding (tests compare
            # the two), and under the oracle rule not at all.
            metrics=split_metrics(valid=all_ranks(student, valid, seen), test=ranks),
            segments=segment_metrics(ranks.under(trial.seen), data),
            ranks=ranks.ranked,
            masked_ranks=ranks.masked,
            curve=result.curve,
            log=log,
            state={name: _array(tensor) for name, tensor in student.export_state().items()},
            best_epoch=result.best_epoch,
            epochs=result.epochs,
            steps=result.steps,
            timings=_timings(result, started, trained),
            parameters=parameters,
            latency=request_latency(student, test),
            settings={**method.config.model_dump(mode="json"), "derived": method.derived},
            teacher=_coverage(known),
            notes=notes,
        )


def _build(
    trial: Trial,
    data: PreparedData,
    known: Knowledge,
    method_class: type[Method],
    device: torch.device,
) -> tuple[Adapter, Method, dict[str, float]]:
    """An untrained student with its method attached, each drawn from a seed of its own.

    Returns:
        Both, and `dropout_of` the student before.
    """
    config = method_config(trial, method_class)
    method_class.signals(config)  # checked before a run, where what it raises is left for here
    torch.manual_seed(derive_seed(trial, "student"))
    student = build_student(trial, data, method_class.prompt_length(config)).to(device)
    dropout = dropout_of(student)
    torch.manual_seed(derive_seed(trial, "method"))
    method = method_class(config)
    method.attach(student, known)
    reject_held_student(trial, method, student)
    method.to(device)
    for line in _reduced(config.model_dump(), method.derived):
        _logger.info(line)
    return student, method, dropout


@contextlib.contextmanager
def _memory_exhausted() -> Iterator[None]:
    """Turn torch's error of a device without memory into a failure of the trial."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(str(error)) from error


def _streams(trial: Trial, device: torch.device) -> Streams:
    def generator(purpose: str, where: torch.device) -> torch.Generator:
        return torch.Generator(where).manual_seed(derive_seed(trial, purpose))

    return Streams(
        order=generator("order", torch.device("cpu")),
        negatives=generator("negatives", device),
        method=generator("method draws", device),
    )


def _reduced(
    configured: Mapping[str, Any], derived: Mapping[str, Any], path: str = "method"
) -> Iterator[str]:
    """The settings that a method had to make smaller, one line each."""
    for name, used in derived.items():
        setting, where = configured.get(name), f"{path}.{name}"
        if isinstance(used, Mapping) and isinstance(setting, Mapping):
            yield from _reduced(setting, used, where)
        elif isinstance(used, int) and isinstance(setting, int) and used < setting:
            yield f"{where}={setting} is {used}: the teacher's lists or the catalogue end there"


def _coverage(knowledge: Knowledge) -> dict[str, int]:
    """Number of training examples, and of those that the teacher covers."""
    covered = knowledge.covered
    return {} if covered is None else {"rows": len(covered), "covered": int(covered.sum())}


def _timings(result: Fit, started: float, trained: float) -> dict[str, float]:
    """Seconds of the clock by phase; `train_cpu_seconds` are those of all processors."""
    by_epoch = ("train_seconds", "train_cpu_seconds", "evaluate_seconds")
    return {
        **{name: sum(epoch[name] for epoch in result.curve) for name in by_epoch},
        "fit_seconds": trained - started,
        "total_seconds": time.perf_counter() - started,
    }


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().contiguous().numpy()


def _count(module: nn.Module) -> int:
    """Number of parameters that are trained."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
