"""Rows resident on the training device, and batches taken from them by index."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.examples import Examples


class Stored(Tensor):
    """A tensor that is int64 to whoever reads it and takes the memory of int32.

    An index widens what it takes out of it. Any other operation reads an int64 copy of all of it,
    but for those that change nothing but the tensor itself: a write reaches the memory.
    """

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """See https://docs.pytorch.org/docs/stable/notes/extending.html."""
        if func == Tensor.dtype.__get__:  # type: ignore[attr-defined]
            return torch.int64
        options = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            if func is Tensor.detach:
                return args[0].detach().as_subclass(cls)
            if args and isinstance(args[0], cls) and _stays(func.__name__):
                found = func(args[0], *_wide(args[1:]), **_wide(options))
                return found.long() if isinstance(found, Tensor) else found
            return func(*_wide(args), **_wide(options))


def _stays(name: str) -> bool:
    """Whether an operation reads its first argument where it lies: of all others, a copy."""
    looks = {"__get__", "__getitem__", "__setitem__", "__len__", "dim", "size", "numel"}
    return name in looks or (name.endswith("_") and not name.startswith("_"))


def stored(narrow: Tensor) -> Tensor:
    """An int32 tensor as what is read as int64, in the same memory."""
    return narrow.as_subclass(Stored)


def _copied(column: NDArray[np.int32]) -> NDArray[np.int32]:
    """A copy of a column, which no longer takes memory where it was mapped."""
    copy = np.array(column, dtype=np.int32)
    mapping = getattr(column, "_mmap", None)
    if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)
    return copy


def _wide(value: Any) -> Any:
    """`value` with int64 tensors in place of `Stored` ones, wherever they lie in it."""
    if isinstance(value, Stored):
        return value.as_subclass(Tensor).long()
    if isinstance(value, Mapping):
        return {key: _wide(each) for key, each in value.items()}
    return type(value)(map(_wide, value)) if type(value) in (list, tuple) else value


@dataclass
class DeviceRows:
    """The tensors of a table of rows, as `bench.distillation.TrainingRows` describes them."""

    history: Tensor
    length: Tensor
    target: Tensor
    user: Tensor
    ordinal: Tensor

    @classmethod
    def of(cls, rows: Examples, device: torch.device) -> DeviceRows:
        """Copy a (memory-mapped) table to `device`."""
        columns = (rows.history, rows.length, rows.target, rows.user, rows.ordinal)
        return cls(*(stored(torch.from_numpy(_copied(column)).to(device)) for column in columns))

    def at(self, rows: slice | Tensor) -> DeviceRows:
        """Some of the rows."""
        columns = (self.history, self.length, self.target, self.user, self.ordinal)
        return DeviceRows(*(column[rows] for column in columns))

    def sample(self, most: int | None, seed: int) -> DeviceRows:
        """`most` of the rows, in their order, drawn from a seed; all where there are no more."""
        if most is None or most >= len(self):
            return self
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(self), generator=generator)[:most].sort().values
        return self.at(chosen.to(self.target.device))

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True)
class Portion:
    """The rows of one step, and where the student reads them.

    Attributes:
        row_id: int64 [B].
        window: int64 [W], rows whose histories are read; None where each row is read from its own.
        place: int64 [B], for each row the position among the W * L of these histories that is its.
    """

    row_id: Tensor
    window: Tensor | None = None
    place: Tensor | None = None

    def __len__(self) -> int:
        return len(self.row_id)


class RowByRow:
    """Passes over rows that are read one by one, each at the end of its history."""

    def __init__(self, rows: DeviceRows, chosen: Tensor | None) -> None:
        """Args: chosen: int64 [R'], the rows of a pass; None is all of them."""
        self.count = len(rows if chosen is None else chosen)
        self.chosen, self.device = chosen, rows.target.device

    def batches(self, batch_size: int, generator: torch.Generator) -> Iterator[Portion]:
        """One pass in random order, `batch_size` rows a step."""
        for index in shuffled(self.count, batch_size, generator, self.device):
            yield Portion(index if self.chosen is None else self.chosen[index])


def shuffled(
    count: int, batch_size: int, generator: torch.Generator, device: torch.device
) -> Iterator[Tensor]:
    """One pass over rows 0..count-1 in random order: int64 index tensors [<= batch_size].

    The order is drawn on the CPU, so that every device sees the same batches, and goes to `device`
    as a whole.
    """
    yield from torch.randperm(count, generator=generator).to(device).split(batch_size)
