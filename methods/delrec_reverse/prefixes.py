"""Training rows as prefixes of one history: the row before, and the last item hidden."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.distillation import Batch, PromptedStudent, TrainingRows


def previous_rows(rows: TrainingRows) -> Tensor:
    """For every row that of the prefix shorter by one item: int64 [R], -1 without one."""
    # One more than there are ordinals: the first of a user does not follow the last of another.
    key = rows.user * (rows.ordinal.max() + 2) + rows.ordinal
    ascending, order = key.sort()
    place = torch.searchsorted(ascending, key - 1).clamp(max=len(key) - 1)
    return order[place].where(ascending[place] == key - 1, -1)


def last_items(batch: Batch) -> Tensor:
    """The most recent item of every history: int64 [B, 1]."""
    return batch.history.gather(1, (batch.length - 1).unsqueeze(1))


def last_masked(batch: Batch, student: PromptedStudent, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Histories i_1, ..., i_t with targets y as sequences i_1, ..., i_{t-1}, [MASK], y.

    Args:
        batch: histories of t items and their targets.
        student: looks items up.
        mask: float32 [d], read in place of i_t.

    Returns:
        What the encoder reads, float32 [B, L, d], of the last L places, and lengths int64 [B].
    """
    length, longest = batch.length.unsqueeze(1), batch.history.shape[1]
    ids = F.pad(batch.history, (0, 1)).scatter(1, length, batch.target.unsqueeze(1))
    dropped = (length == longest).long()
    place = torch.arange(longest, device=ids.device) + dropped
    vectors = student.lookup(ids.gather(1, place))
    vectors = torch.where((place == length - 1).unsqueeze(2), mask, vectors)
    return vectors, (length + 1 - dropped).squeeze(1)
