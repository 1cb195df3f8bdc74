"""Rows resident on the training device, and batches taken from them by index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.data.examples import Examples


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
        return cls(*(torch.from_numpy(np.array(c, dtype=np.int64)).to(device) for c in columns))

    def at(self, rows: slice | Tensor) -> DeviceRows:
        """Some of the rows; nothing is copied for a slice."""
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
