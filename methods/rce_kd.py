"""Rejuvenated cross-entropy: soft labels over sets that hold what the student ranks high."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from bench.distillation import Batch, Knowledge, Output, Student
from bench.distillation.lists import contains, coverage
from bench.distillation.losses import covered_mean
from bench.distillation.plackett_luce import NO_MASS
from bench.distillation.sampling import gumbel_top_k
from bench.distillation.teacher_scores import RowScores, ScoredConfig, ScoredMethod, teacher_scores
from bench.registry import register_method

MOST = 50
"""Teacher items below one of the student's that still count for its chance to be drawn."""


@register_method("rce-kd", needs={"rankings", "confidence"})
class RejuvenatedCrossEntropy(ScoredMethod):
    r"""Match the teacher's softmax over the student's best items, and over what it overlooks.

    "Rejuvenating Cross-Entropy Loss in Knowledge Distillation for Recommender Systems", ICLR 2026,
    arXiv 2509.20989.

    .. math::
        L = (1 - \gamma)\, \mathrm{CE}_{Q_S} + \gamma\, \mathrm{CE}_{A \cup (Q_T \setminus Q_S)},
        \quad \gamma = e^{-\beta |Q_T \cap Q_S| / K}, \quad
        \mathrm{CE}_Q = -\sum_{i \in Q} t_i^Q \log p_i^Q

    with the K best items :math:`Q_T` of the teacher and :math:`Q_S` of the student, softmaxes
    :math:`t^Q` and :math:`p^Q` of their scores over a set Q alone, and items A drawn from the
    student's `pool` best in proportion to :math:`e^{c_j / T_s}`, where :math:`c_j` counts the items
    of :math:`Q_T` that the student ranks below j. `items` gives one cross-entropy instead: over
    :math:`Q_S`, :math:`Q_T`, their union, or the whole catalogue.

    Takes: `rankings` and the distances of the listed items (`confidence`), negated and standardised
    within the list.

    Costs: no parameters, nothing at inference. A step finds the student's `pool` best of the
    catalogue and scores 2 K + `sampled` items; `items: all` makes a block with gradients.

    Departs: of a list, items that are not on it are taken to lie one standard deviation below its
    end; with `scores: product` or `distance` all have their own (needs `histories` and
    `embeddings`), as in the paper. Items are drawn at each step, not once
    an epoch. The released program takes the overlap from the items drawn, not from
    :math:`Q_S`. Its weights (1 to 1e5) are on sums.
    """

    class Config(ScoredConfig):
        weight: NonNegativeFloat = Field(1.0, description="lambda, weight of the term")
        top_k: PositiveInt = Field(50, description="K, best items of teacher and student")
        sampled: PositiveInt = Field(50, description="|A|, items drawn")
        pool: PositiveInt = Field(200, description="best items of the student drawn from")
        decay: NonNegativeFloat = Field(5.0, description="beta, how soon overlap moves weight")
        temperature: PositiveFloat = Field(1.0, description="of both softmaxes")
        sampling_temperature: PositiveFloat = Field(10.0, description="T_s")
        items: Literal["both", "student", "teacher", "union", "all"] = Field(
            "both", description="the sets compared: the method's two, or a single one"
        )

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        self.teacher = teacher_scores(knowledge, self.config.scores)
        self.covered = coverage(knowledge)
        listed = knowledge.rankings if self.config.scores == "listed" else None
        most = student.n_items if listed is None else listed.shape[1]
        self.derived = {"top_k": min(self.config.top_k, most)}

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        values, covered = self.cross_entropy(batch, output), self.covered[batch.row_id]
        return {"rce": self.config.weight * covered_mean(values, covered)}

    def cross_entropy(self, batch: Batch, output: Output) -> Tensor:
        """Of every row, [B]."""
        kind, teacher = self.config.items, self.teacher(batch.row_id)
        if kind == "all":
            return self._matched(teacher.all(), output.logits[:, 1:])
        wanted = teacher.top(self.config.top_k)
        if kind == "teacher":
            return self._over(teacher, output, wanted)
        best = output.top_k(max(self.config.pool, self.config.top_k))
        own = best[:, : wanted.shape[1]]
        if kind == "union":
            return self._over(teacher, output, own, wanted, ~contains(own, wanted))
        if kind == "student":
            return self._over(teacher, output, own)
        drawn, shared = self._drawn(batch, wanted, best), contains(own, wanted)
        overlooked = ~shared & ~contains(drawn, wanted)
        gamma = torch.exp(-self.config.decay * shared.float().mean(dim=1))
        second = self._over(teacher, output, drawn, wanted, overlooked)
        return (1 - gamma) * self._over(teacher, output, own) + gamma * second

    def _drawn(self, batch: Batch, wanted: Tensor, best: Tensor) -> Tensor:
        """Items int64 [B, |A|] out of the student's `best` [B, P], in its order."""
        pool = best[:, : self.config.pool]
        below = wanted.shape[1] - contains(wanted, pool).cumsum(dim=1)
        chances = (below + 1).clamp(max=MOST) / self.config.sampling_temperature
        return pool.gather(1, gumbel_top_k(chances, self.config.sampled, batch.generator))

    def _over(
        self,
        teacher: RowScores,
        output: Output,
        items: Tensor,
        more: Tensor | None = None,
        added: Tensor | None = None,
    ) -> Tensor:
        """Cross-entropy over the items [B, S], and those of `more` [B, S'] that are `added`."""
        usable = torch.ones_like(items, dtype=torch.bool)
        if more is not None and added is not None:
            items, usable = torch.cat([items, more], dim=1), torch.cat([usable, added], dim=1)
        wanted, said = teacher.at(items), output.scores(items)
        return self._matched(
            wanted.masked_fill(~usable, NO_MASS), said.masked_fill(~usable, NO_MASS)
        )

    def _matched(self, wanted: Tensor, said: Tensor) -> Tensor:
        """Cross-entropy [B] of the softmaxes of two sets of scores [B, S]."""
        T = self.config.temperature
        return -(F.softmax(wanted / T, dim=1) * F.log_softmax(said / T, dim=1)).sum(dim=1)
