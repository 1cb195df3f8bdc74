"""Full-catalogue ranking: the rank of every row's target among all items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.errors import Diverged

if TYPE_CHECKING:
    from bench.students.recbole import RecBoleStudent
    from bench.training.rows import DeviceRows

BLOCK_ROWS, BLOCK_BYTES = 256, 128 * 2**20
"""A block of scores has this many rows, or as few as a catalogue of any size leaves room for."""


@torch.no_grad()
def rank_targets(student: RecBoleStudent, rows: DeviceRows) -> NDArray[np.int32]:
    """Rank every row's target among all N items (none is removed), in blocks of rows.

    Args:
        student: in evaluation mode.
        rows: R rows on the student's device.

    Returns:
        int32 [R], 1-based; items that tie with the target are ranked before it.

    Raises:
        Diverged: a score is NaN or infinite (a comparison with NaN would silently yield rank 1), or
            the scores of a row are too large to be summed.
    """
    table = student.item_table()[1:].T.contiguous()
    room = BLOCK_BYTES // (table.shape[1] * table.element_size())
    size = max(1, min(BLOCK_ROWS, room))
    buffer = table.new_empty(min(size, len(rows)), table.shape[1])
    ranks = []
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        hidden = student.encode(rows.history[part], rows.length[part], rows.user[part])
        scores = torch.mm(hidden, table, out=buffer[: len(hidden)])
        ranks.append(target_ranks(scores, rows.target[part] - 1, consume=True))
    return torch.cat(ranks).to("cpu", torch.int32).numpy()


def target_ranks(scores: Tensor, target: Tensor, *, consume: bool = False) -> Tensor:
    """Rank of each row's target, int64 [B], 1-based; ties count against it.

    Args:
        scores: float [B, N]; float32 counts N < 2^24 exactly.
        target: int64 [B], the target's column in `scores`.
        consume: `scores` may be overwritten, which takes a third of the time.

    Raises:
        Diverged: a score is NaN or infinite, or the scores of a row are too large to be summed.
    """
    if not bool(torch.isfinite(scores.sum(dim=1)).all()):
        raise Diverged("scores are NaN or infinite")
    wanted = scores.gather(1, target.unsqueeze(1))
    if consume:
        return scores.ge_(wanted).sum(dim=1).long()
    return (scores >= wanted).sum(dim=1)
