"""Rows block by block, as lists are made of them: their tensors, and the items left to list."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from bench.data.rows import Rows
from bench.teachers.kinds.members import rows_where
from bench.training.rows import DeviceRows

BLOCK = 1024
"""Rows for which every item is scored at a time."""


def blocks(rows: Rows, device: str | torch.device) -> Iterator[tuple[slice, DeviceRows]]:
    """Parts of rows small enough for a score of every item: where each lies, and its tensors."""
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        yield part, DeviceRows.of(rows_where(rows, part), torch.device(device))


def unseen(scores: Tensor, history: Tensor, target: Tensor | None = None) -> Tensor:
    """Scores float [B, N + 1] by id: -inf for padding and for the items of a row's history.

    Args:
        scores: float [B, N]; column i - 1 is item i.
        history: int64 [B, L], ids 1..N, 0 is padding.
        target: int64 [B], keeps its score even if the history holds it; None: nothing does.
    """
    seen = history if target is None else torch.where(history == target[:, None], 0, history)
    return functional.pad(scores, (1, 0), value=-torch.inf).scatter_(1, seen, -torch.inf)
