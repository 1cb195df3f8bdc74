"""Rows resident on the training device, and batches taken from them by index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.data.rows import Rows


@dataclass
class DeviceRows:
    """The tensors of a table of rows, as `methods.base.TrainingRows` describes them."""

    history: Tensor
    length: Tensor
    target: Tensor
    user: Tensor
    ordinal: Tensor

    @classmethod
    def of(cls, rows: Rows, device: torch.device) -> DeviceRows:
        """Copy a (memory-mapped) table to `device`."""
        columns = (rows.history, rows.length, rows.target, rows.user, rows.ordinal)
        return cls(*(torch.from_numpy(np.array(c, dtype=np.int64)).to(device) for c in columns))

    def __len__(self) -> int:
        return len(self.target)


def shuffled(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """One pass over rows 0..count-1 in random order: int64 index tensors [<= batch_size].

    The order is drawn on the CPU, so that every device sees the same batches.
    """
    yield from torch.randperm(count, generator=generator).split(batch_size)
