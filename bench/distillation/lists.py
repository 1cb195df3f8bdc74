"""The teacher's ranked lists as a method reads them in a step."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.distillation import Batch, Knowledge


class TeacherLists:
    """Lists of the batch's rows, unusable items left out.

    DLLM2Rec leaves lists as they are; RD drops the row's target, the methods that want unobserved
    items only (RRD, DCD, CD, UnKD, HetComp) drop its history as well.
    """

    def __init__(
        self, knowledge: Knowledge, *, exclude_target: bool, exclude_history: bool
    ) -> None:
        self.rankings = knowledge.rankings
        self.covered = coverage(knowledge)
        self.exclude_target, self.exclude_history = exclude_target, exclude_history

    def take(self, batch: Batch, k: int) -> tuple[Tensor, Tensor]:
        """The first k usable items of every row, in the teacher's order.

        Returns:
            ids int64 [B, min(k, K_T)], 0 where a list is too short or the row is not covered, and
            bool [B, min(k, K_T)], True where there is an item.
        """
        excluded = [batch.target.unsqueeze(1)] if self.exclude_target else []
        excluded += [batch.history] if self.exclude_history else []
        # No more than the excluded items can be lost: the rest of a long list is not looked at.
        needed = k + sum(ids.shape[1] for ids in excluded)
        ids = self.listed(batch.row_id, needed)
        usable = self.covered[batch.row_id].unsqueeze(1).expand_as(ids)
        if excluded:
            usable = usable & ~contains(torch.cat(excluded, dim=1), ids)
        return first(ids, usable, k)

    def listed(self, row_id: Tensor, count: int) -> Tensor:
        """The teacher's first items of the rows `row_id` [B], int64 [B, at most `count`]."""
        assert self.rankings is not None  # noqa: S101 - guaranteed by `needs`
        return self.rankings[row_id][:, :count]


def coverage(knowledge: Knowledge) -> Tensor:
    """For every example (bool [R]) whether the teacher offers something."""
    if knowledge.covered is not None:
        return knowledge.covered
    known = knowledge.histories if knowledge.rankings is None else knowledge.rankings
    assert known is not None  # noqa: S101 - guaranteed by the method's signals
    return torch.ones_like(known[:, 0], dtype=torch.bool)


def contains(sets: Tensor, ids: Tensor) -> Tensor:
    """Whether each of `ids` [B, K] is among its row of `sets` [B, S]: bool [B, K]."""
    return (ids.unsqueeze(2) == sets.unsqueeze(1)).any(dim=2)


def first(ids: Tensor, usable: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The first k usable ids of every row, order kept; 0 and False where there are fewer.

    Args:
        ids: int64 [B, K].
        usable: bool [B, K].
        k: at most K are returned.
    """
    # A stable sort of a flag moves what is usable to the front and keeps its order.
    order = (~usable).to(torch.uint8).argsort(dim=1, stable=True)[:, :k]
    chosen = usable.gather(1, order)
    return ids.gather(1, order).masked_fill(~chosen, 0), chosen


def ranks(scores: Tensor, usable: Tensor) -> Tensor:
    """int64 [B, K], the place of every item when a row is sorted by `scores` [B, K], best is 0.

    Ties keep their order. Items that are not `usable` [B, K] come last.
    """
    order = scores.masked_fill(~usable, -torch.inf).argsort(dim=1, descending=True, stable=True)
    places = torch.arange(scores.shape[1], device=scores.device)
    return torch.empty_like(order).scatter_(1, order, places.expand_as(order))


def standardised_scores(distances: Tensor) -> Tensor:
    """Scores (mean - d) / (std + 1e-6) of the listed items, row by row.

    Distances themselves will not do: between language-model vectors they are in the tens, all
    about the same.

    Args:
        distances: float32 [B, K], smaller is surer.

    Returns:
        float32 [B, K] with mean 0 and standard deviation 1 in a row; zeros where all are equal.
    """
    mean = distances.mean(dim=1, keepdim=True)
    return (mean - distances) / (distances.std(dim=1, correction=0, keepdim=True) + 1e-6)
