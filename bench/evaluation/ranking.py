"""Full-catalogue ranking: the rank of every row's target among all items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.blocks import empty_block
from bench.errors import Diverged
from bench.evaluation.metrics import TargetRanks

if TYPE_CHECKING:
    from bench.data.examples import Sequences
    from bench.students.adapter import Adapter
    from bench.training.rows import DeviceRows

BLOCK_ROWS, BLOCK_BYTES = 256, 128 * 2**20
"""A block of scores has this many rows, or as few as a catalogue of any size leaves room for."""


@dataclass(frozen=True)
class SeenItems:
    """What each user had before, on the device that ranks.

    Attributes:
        item: int32 [M], items 1..N of all users, user after user, oldest first.
        start: int64 [U + 1], where each user's begin, and M.
    """

    item: Tensor
    start: Tensor

    @classmethod
    def of(cls, sequences: Sequences | None, device: torch.device) -> SeenItems | None:
        """Copy (memory-mapped) sequences to `device`; None stays None."""
        if sequences is None:
            return None
        arrays = (np.array(a) for a in (sequences.item, sequences.start))
        return cls(*(torch.from_numpy(a).to(device) for a in arrays))

    def before(self, user: Tensor, ordinal: Tensor) -> Tensor:
        """Items before each example's target, int64 [B, S], padded with 0 on the right.

        Args:
            user: int64 [B], 0..U-1.
            ordinal: int64 [B], number of interactions of the user before the target.
        """
        place = torch.arange(int(ordinal.max()), device=user.device)
        index = (self.start[user].unsqueeze(1) + place).clamp(max=len(self.item) - 1)
        return self.item[index].long() * (place < ordinal.unsqueeze(1))


def rank_targets(student: Adapter, rows: DeviceRows) -> NDArray[np.int32]:
    """Rank every example's target among all N items; see `all_ranks`."""
    return all_ranks(student, rows, None).ranked


@torch.no_grad()
def all_ranks(student: Adapter, rows: DeviceRows, seen: SeenItems | None) -> TargetRanks:
    """Rank every example's target in the whole catalogue, in blocks of examples.

    Args:
        student: in evaluation mode.
        rows: R examples on the student's device.
        seen: what users had before, if it is known.

    Raises:
        Diverged: a score is NaN or infinite (a comparison with NaN would silently yield rank 1), or
            the scores of a row are too large to be summed.
    """
    keys = student.keys()[1:].T.contiguous()
    room = BLOCK_BYTES // (keys.shape[1] * keys.element_size())
    size = max(1, min(BLOCK_ROWS, room))
    buffer = empty_block(min(size, len(rows)), keys.shape[1], keys)
    ranks, seen_above = [], []
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        hidden = student.encode(rows.history[part], rows.length[part], rows.user[part])
        scores = torch.mm(student.queries(hidden), keys, out=buffer[: len(hidden)])
        target = rows.target[part] - 1
        if seen is not None:
            items = seen.before(rows.user[part], rows.ordinal[part])
            seen_above.append(ranked_above(scores, target, items))
        ranks.append(target_ranks(scores, target, consume=True))
    found = torch.cat(ranks).to("cpu", torch.int32).numpy()
    if seen is None:
        return TargetRanks(found)
    return TargetRanks(found, found - torch.cat(seen_above).to("cpu", torch.int32).numpy())


def ranked_above(scores: Tensor, target: Tensor, items: Tensor) -> Tensor:
    """How many different items of a list rank before the target, int64 [B]; ties do.

    Args:
        scores: float [B, N].
        target: int64 [B], the target's column in `scores`; it never counts itself.
        items: int64 [B, S], ids 1..N padded with 0, in which an item may stand more than once.
    """
    ordered = items.sort(dim=1).values
    counts = (ordered > 0) & (ordered != target.unsqueeze(1) + 1)
    counts[:, 1:] &= ordered[:, 1:] != ordered[:, :-1]
    listed = scores.gather(1, (ordered - 1).clamp(min=0))
    return (counts & (listed >= scores.gather(1, target.unsqueeze(1)))).sum(dim=1)


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
