"""A teacher's scores of any items, as far as its lists tell them."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.distillation import Knowledge
from bench.distillation.lists import coverage, standardised_scores


class ListedScores:
    """Scores of the listed items, standardised within each list; all others share a floor.

    The floor is one standard deviation below the last item of the list.
    """

    def __init__(self, knowledge: Knowledge) -> None:
        """Args: knowledge: `rankings` and `distances`, both [R, K_T]."""
        assert knowledge.rankings is not None  # noqa: S101 - guaranteed by `needs`
        assert knowledge.distances is not None  # noqa: S101 - guaranteed by `needs`
        self.rankings, self.distances = knowledge.rankings, knowledge.distances
        self.covered = coverage(knowledge)

    def top(self, row_id: Tensor, k: int) -> Tensor:
        """The teacher's best items of every row, int64 [B, min(k, K_T)], best first."""
        return self.rankings[row_id, :k]

    def of(self, row_id: Tensor, ids: Tensor) -> Tensor:
        """Scores float32 [B, K] of the items `ids` [B, K]."""
        scores = standardised_scores(self.distances[row_id])
        listed, order = self.rankings[row_id].sort(dim=1)
        place = torch.searchsorted(listed, ids.contiguous()).clamp(max=listed.shape[1] - 1)
        known = scores.gather(1, order).gather(1, place)
        return known.where(listed.gather(1, place) == ids, self._floor(scores))

    def all(self, row_id: Tensor, n_items: int) -> Tensor:
        """Scores float32 [B, N] of all items, id 1 in column 0."""
        scores = standardised_scores(self.distances[row_id])
        everything = self._floor(scores).repeat(1, n_items)
        return everything.scatter_(1, self.rankings[row_id] - 1, scores)

    @staticmethod
    def _floor(scores: Tensor) -> Tensor:
        return scores[:, -1:] - 1.0
