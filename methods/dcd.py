"""Dual correction of ranking errors."""

from __future__ import annotations

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from bench.distillation import Batch, Knowledge, Output, Student
from bench.distillation.lists import TeacherLists, ranks
from bench.distillation.losses import covered_mean
from bench.distillation.plackett_luce import log_mass, plackett_luce
from bench.distillation.sampling import gumbel_top_k
from bench.distillation.teacher_scores import FullLists, ScoredConfig, ScoredMethod
from bench.registry import register_method


@register_method("dcd", needs={"rankings"})
class DualCorrection(ScoredMethod):
    r"""Lift items that the student ranks too low above those that it ranks too high.

    Youngjune Lee and Kee-Eung Kim, "Dual Correction Strategy for Ranking Distillation in Top-N
    Recommender System", CIKM 2021, the user side.

    .. math::
        L = -\frac{1}{|A|} \sum_{k} \log
        \frac{e^{s_{a_k}}}{\sum_{i \ge k} e^{s_{a_i}} + \sum_{b \in O} e^{s_b}}

    With the discrepancy :math:`\delta_i` = rank by the student - rank by the teacher, both within
    the list, the under-estimated items A are drawn in proportion to
    :math:`\tanh(\max(\epsilon \delta_i, 0)) + c` and kept in the teacher's order
    :math:`a_1, a_2, \dots`; the over-estimated items O in proportion to
    :math:`\tanh(\max(-\epsilon \delta_i, 0)) + c`. Draws are without replacement.

    Takes: `rankings`, the listed items without the row's history and target.

    Costs: no parameters, nothing at inference. A step scores the whole pool once without and
    `under` + `over` items once with gradients.

    Departs: from the program, rows take the place of users, discrepancies are those of the moment
    instead of every third epoch's, the sum is a mean, and only the user side exists: rows have no
    list of users per item. The pool of 500 is what the teacher stores, at most `pool`; with
    `scores: product` or `distance` it is the best of all items, by scores from the teacher's
    vectors (needs `histories` and `embeddings`). From a public port, ranks of the student are those
    within the pool and the under-estimated items stay in the teacher's order. Each draw takes at
    most half of a short pool: both draws would be the whole of it otherwise. On lists of 100 they
    nearly are: the lower half against the upper.
    """

    class Config(ScoredConfig):
        weight: NonNegativeFloat = Field(0.1, description="lambda_U, weight of the term")
        pool: PositiveInt = Field(500, description="usable listed items that are ranked, at most")
        under: PositiveInt = Field(40, description="under-estimated items drawn per row")
        over: PositiveInt = Field(40, description="over-estimated items drawn per row")
        steepness: PositiveFloat = Field(0.1, description="epsilon, scale of the discrepancy")
        floor: NonNegativeFloat = Field(
            1e-6, description="c, lets any item fill up a draw; with 0 a draw may stay short"
        )

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        if self.config.scores == "listed":
            assert knowledge.rankings is not None  # noqa: S101 - guaranteed by `needs`
            self.lists = TeacherLists(knowledge, exclude_target=True, exclude_history=True)
            there = knowledge.rankings.shape[1]
        else:
            self.lists = FullLists(
                knowledge, self.config.scores, exclude_target=True, exclude_history=True
            )
            there = student.n_items
        half = max(1, min(self.config.pool, there) // 2)
        self.under, self.over = min(self.config.under, half), min(self.config.over, half)
        self.derived = {"under": self.under, "over": self.over}

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        pool, usable = self.lists.take(batch, self.config.pool)
        with torch.no_grad():
            lag = self.discrepancy(output.scores(pool), usable)
            below, is_below = self._draw(lag, usable, self.under, batch.generator)
            above, is_above = self._draw(-lag, usable, self.over, batch.generator)
        rest = log_mass(output.scores(pool.gather(1, above)), is_above)
        row_loss = plackett_luce(output.scores(pool.gather(1, below)), is_below, rest)
        row_loss = row_loss / is_below.sum(dim=1).clamp(min=1)
        return {"dcd": self.config.weight * covered_mean(row_loss, is_below.any(dim=1))}

    def discrepancy(self, scores: Tensor, usable: Tensor) -> Tensor:
        """Rank by `scores` less rank by the teacher, int64 [B, P], for a pool in its order."""
        return ranks(scores, usable) - torch.arange(scores.shape[1], device=scores.device)

    def _draw(
        self, lag: Tensor, usable: Tensor, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Ascending places [B, count] of items drawn by how far they lag, and whether there is one.

        A row with fewer usable items than `count` has places that hold none.
        """
        weights = torch.tanh(self.config.steepness * lag.clamp(min=0)) + self.config.floor
        possible = usable & (weights > 0)
        places = gumbel_top_k(weights.log().where(possible, -torch.inf), count, generator)
        return places, possible.gather(1, places)
