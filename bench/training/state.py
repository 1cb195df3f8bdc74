"""The state of a training at the end of an epoch, from which it goes on with the same bits.

It is all that later epochs depend on: student and method, optimiser, random generators, the best
epoch and what early stopping counts, the curve, and attributes of the method that changed since it
was attached. On disk it is one file, of text and of tensors in safetensors' form; nothing is
unpickled.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import random
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np
import torch
from pydantic import BaseModel
from safetensors.torch import load, save
from torch import Tensor, nn

from bench.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

State = dict[str, Any]
"""Plain values, lists, dictionaries and tensors."""

_PLAIN = (type(None), bool, int, float, str)
_TENSOR, _PAIRS, _TUPLE = "$tensor", "$pairs", "$tuple"
_HASH, _LENGTH, _PIECE = hashlib.sha256().digest_size, 8, 2**20
"""Bytes of the hash of a state's content, of the length of each of its parts, and read at once."""


class Checkpoint(Protocol):
    """Where a training keeps its state, and finds that of an earlier attempt."""

    def load(self) -> State | None:
        """The state that was kept last; None where there is none that fits."""

    def offer(self, state: Callable[[], State]) -> None:
        """Called at the end of an epoch: keep `state()`, if it is time to."""


def write(path: Path, state: State, facts: dict[str, Any]) -> None:
    """Write a state whole: the hash of its content, then its text and its tensors one by one.

    Tensors are never copied all at once: those of a large catalogue may take half of the memory.

    Args:
        path: the file; its folder is there.
        state: what is kept.
        facts: what it was made by, as plain values.

    Raises:
        OSError: it cannot be written.
        TypeError: a value of the state cannot be kept.
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps({"facts": facts, "state": _packed(state, tensors)})

    def fill(stream: BinaryIO) -> None:
        digest = hashlib.sha256()
        stream.write(bytes(_HASH))
        for part in _parts(text, tensors):
            for piece in (len(part).to_bytes(_LENGTH, "little"), part):
                digest.update(piece)
                stream.write(piece)
        stream.seek(0)
        stream.write(digest.digest())

    write_whole(path, fill)


def read(path: Path) -> tuple[State, dict[str, Any]]:
    """The inverse of `write`, on the CPU.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not as it was written.
    """
    with path.open("rb") as stream:
        expected = stream.read(_HASH)
        digest = hashlib.sha256()
        while piece := stream.read(_PIECE):
            digest.update(piece)
        if digest.digest() != expected:
            raise ValueError("it is damaged")
        stream.seek(_HASH)
        text = json.loads(_next_part(stream))
        if not {"state", "facts"} <= text.keys():
            raise ValueError("it is of another version")
        tensors: dict[str, Tensor] = {}
        while part := _next_part(stream):
            tensors |= load(part)
    return _unpacked(text["state"], tensors), text["facts"]


def _parts(text: str, tensors: dict[str, Tensor]) -> Iterator[bytes]:
    yield text.encode()
    for name, tensor in tensors.items():
        yield save({name: tensor})


def _next_part(stream: BinaryIO) -> bytes:
    """The next part of a state; empty where there is no other one."""
    return stream.read(int.from_bytes(stream.read(_LENGTH), "little"))


def _packed(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The value as JSON, its tensors put into `tensors`."""
    if isinstance(value, Tensor):
        name, plain = str(len(tensors)), value.detach().to("cpu").contiguous()
        known = {tensor.untyped_storage().data_ptr() for tensor in tensors.values()}
        # A file holds no memory twice; the tables of a large catalogue are not copied for nothing.
        shares = plain.untyped_storage().data_ptr() in known
        tensors[name] = plain.clone() if shares else plain
        return {_TENSOR: name}
    if isinstance(value, dict):
        return {_PAIRS: [[_packed(k, tensors), _packed(v, tensors)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {_TUPLE: [_packed(item, tensors) for item in value]}
    if isinstance(value, list):
        return [_packed(item, tensors) for item in value]
    if isinstance(value, _PLAIN):
        return value
    raise TypeError(f"a {type(value).__name__} cannot be kept in a state")


def _unpacked(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpacked(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == _TENSOR:
        return tensors[content]
    if kind == _TUPLE:
        return tuple(_unpacked(item, tensors) for item in content)
    return {_unpacked(k, tensors): _unpacked(v, tensors) for k, v in content}


class Generators:
    """The sources of random numbers of a training: its own streams, and the process's."""

    def __init__(self, streams: list[torch.Generator], device: torch.device) -> None:
        self._streams, self._device = streams, device

    def state(self) -> State:
        """What they will draw next."""
        numpy: Any = np.random.get_state()  # noqa: NPY002 - for methods that draw from it
        return {
            "streams": [stream.get_state() for stream in self._streams],
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self._device) if self._is_cuda else None,
            "python": random.getstate(),
            "numpy": (numpy[0], numpy[1].tolist(), *numpy[2:]),
        }

    def restore(self, state: State) -> None:
        """Let them draw what they would have drawn."""
        for stream, own in zip(self._streams, state["streams"], strict=True):
            stream.set_state(own)
        torch.set_rng_state(state["torch"])
        if self._is_cuda:
            torch.cuda.set_rng_state(state["cuda"], self._device)
        random.setstate(state["python"])
        np.random.set_state(state["numpy"])  # noqa: NPY002

    @property
    def _is_cuda(self) -> bool:
        return self._device.type == "cuda"


class Attributes:
    """What a method holds beside parameters and buffers, as far as training changes it.

    Attributes of the method, of its modules and of the objects in them are looked at, those of the
    student left out. A teacher's arrays, which are large and never change, are not kept.
    """

    def __init__(self, method: nn.Module, student: nn.Module) -> None:
        """Note what the attributes are now, after `attach`."""
        self._method, self._student = method, student
        # The values are held, so that no other one can have their identity.
        self._known = {path: (value, _mark(value)) for path, value in self._leaves()}

    def changed(self) -> list[Any]:
        """Every attribute that is not what it was: path, value, and whether it is the same tensor.

        Raises:
            TypeError: an attribute became something else than a value.
        """
        now = dict(self._leaves())
        if gone := self._known.keys() - now.keys():
            raise TypeError(f"what became of {'.'.join(min(gone))} is no value")
        found = []
        for path, value in now.items():
            before, mark = self._known.get(path, (None, None))
            if _mark(value) != mark:
                found.append([path, value, isinstance(value, Tensor) and value is before])
        return found

    def restore(self, changed: list[Any]) -> None:
        """Make the attributes what they were when `changed` was called."""
        device = next(self._student.parameters()).device
        for (*place, name), value, in_place in changed:
            owner = functools.reduce(getattr, place, self._method)
            if in_place:
                with torch.no_grad():
                    getattr(owner, name).copy_(value)
            else:
                setattr(owner, name, value.to(device) if isinstance(value, Tensor) else value)

    def _leaves(self) -> Iterator[tuple[tuple[str, ...], Any]]:
        """Path and value of every attribute that is plain, a tensor, or made of such."""
        seen = {id(module) for module in self._student.modules()}
        pending: list[tuple[tuple[str, ...], object]] = [((), self._method)]
        while pending:
            path, owner = pending.pop()
            if id(owner) in seen:
                continue
            seen.add(id(owner))
            held = {k: v for k, v in vars(owner).items() if k not in _OF_MODULES}
            if isinstance(owner, nn.Module):
                held |= dict(owner.named_children())
            for name, value in held.items():
                if _mark(value) is not None:
                    yield (*path, name), value
                elif _may_change(value):
                    pending.append(((*path, name), value))


_OF_MODULES = frozenset(vars(nn.Module()))
"""What torch keeps of a module: parameters, buffers, hooks, whether it is training."""


def _mark(value: Any) -> Any:
    """What differs when a value has changed; None for what is not a value, or is a parameter."""
    if isinstance(value, nn.Parameter):
        return None
    if isinstance(value, Tensor):
        return id(value), value._version
    if isinstance(value, _PLAIN):
        return (value,)
    if isinstance(value, dict):
        value = [part for pair in value.items() for part in pair]
    if not isinstance(value, list | tuple):
        return None
    marks = [_mark(item) for item in value]
    return None if None in marks else (len(marks), *marks)


def _may_change(value: Any) -> bool:
    """Whether attributes of an object are looked at."""
    fixed = isinstance(value, BaseModel | type | ModuleType) or inspect.isroutine(value)
    return hasattr(value, "__dict__") and not fixed
