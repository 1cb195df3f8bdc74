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
        item: int32 [M'], items 1..N of all users, user after user, each where the user had it
            first.
        place: int32 [M + 1], how many of `item` lie before each of the M interactions.
        start: int64 [U + 1], the interaction where each user's begin, and M.
    """

    item: Tensor
    place: Tensor
    start: Tensor

    @classmethod
    def of(cls, sequences: Sequences | None, device: torch.device) -> SeenItems | None:
        """Copy (memory-mapped) sequences to `device`; None stays None."""
        if sequences is None:
            return None
        first = ~sequences.is_repeat()
        place = np.zeros(len(first) + 1, dtype=np.int32)
        first.cumsum(out=place[1:])
        arrays = (sequences.item[first], place, np.array(sequences.start))
        return cls(*(torch.from_numpy(array).to(device) for array in arrays))

    def before(self, user: Tensor, ordinal: Tensor) -> tuple[Tensor, Tensor]:
        """Different items before the targets of B examples.

        Args:
            user: int64 [B], 0..U-1.
            ordinal: int64 [B], number of interactions of the user before the target.

        Returns:
            int64 [S] each: the example 0..B-1, ascending, and an item that its user had.
        """
        first = self.place[self.start[user]]
        count = self.place[self.start[user] + ordinal] - first
        example = torch.arange(len(user), device=user.device).repeat_interleave(count)
        offset = first - (count.cumsum(0) - count)
        index = torch.arange(len(example), device=user.device) + offset[example]
        return example, self.item[index].long()


class RankedBlocks:
    """Ranks of targets, collected block by block under both rules for items seen before.

    Args:
        seen: what users had before, if it is known.
    """

    def __init__(self, seen: SeenItems | None) -> None:
        self._seen = seen
        self._ranks: list[Tensor] = []
        self._above: list[Tensor] = []

    def add(self, scores: Tensor, rows: DeviceRows, *, consume: bool = False) -> None:
        """Rank the targets of a block.

        Args:
            scores: float [B, N]; column i - 1 is item i.
            rows: the B examples, on the same device.
            consume: `scores` may be overwritten, which takes a third of the time.

        Raises:
            Diverged: a score is NaN or infinite, or the scores of a row are too large to be summed.
        """
        target = rows.target - 1
        if self._seen is not None:
            seen = self._seen.before(rows.user, rows.ordinal)
            self._above.append(ranked_above(scores, target, *seen))
        self._ranks.append(target_ranks(scores, target, consume=consume))

    def found(self) -> TargetRanks:
        """Those of all blocks, in their order."""
        ranks = _on_host(self._ranks)
        return TargetRanks(ranks, ranks - _on_host(self._above) if self._seen else None)


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
    ranked = RankedBlocks(seen)
    for start in range(0, len(rows), size):
        part = rows.at(slice(start, start + size))
        hidden = student.encode(part.history, part.length, part.user)
        scores = torch.mm(student.queries(hidden), keys, out=buffer[: len(hidden)])
        ranked.add(scores, part, consume=True)
    return ranked.found()


def ranked_above(scores: Tensor, target: Tensor, example: Tensor, item: Tensor) -> Tensor:
    """How many of some items rank before the target of their example, int64 [B]; ties do.

    Args:
        scores: float [B, N].
        target: int64 [B], the target's column in `scores`; it never counts itself.
        example: int64 [S], 0..B-1.
        item: int64 [S], ids 1..N, different ones of each example.
    """
    wanted = scores.gather(1, target.unsqueeze(1))[:, 0]
    counts = (scores[example, item - 1] >= wanted[example]) & (item - 1 != target[example])
    return torch.bincount(example[counts], minlength=len(target))


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


def _on_host(blocks: list[Tensor]) -> NDArray[np.int32]:
    return torch.cat(blocks).to("cpu", torch.int32).numpy()
