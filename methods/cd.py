"""Collaborative distillation: soft labels of sampled unobserved items."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from bench.distillation import Batch, Knowledge, Output, Student
from bench.distillation.lists import contains, coverage, ranks
from bench.distillation.losses import covered_mean
from bench.distillation.sampling import first_of_each, gumbel_top_k, uniform_outside
from bench.distillation.teacher_scores import (
    ScoredConfig,
    ScoredMethod,
    teacher_scores,
)
from bench.registry import register_method


@register_method("cd", needs={"rankings", "confidence"})
class CollaborativeDistillation(ScoredMethod):
    r"""Learn the teacher's soft labels of unobserved items, sampled by their rank.

    Jae-woong Lee et al., "Collaborative Distillation for Top-N Recommendation", ICDM 2019.

    .. math::
        L = -\frac{1}{|S|} \sum_{i \in S} \big[ q_i \log \sigma(s_i)
        + (1 - q_i) \log (1 - \sigma(s_i)) \big], \quad q_i = \sigma((t_i + T_2) / T_1)

    for items S drawn without replacement in proportion to :math:`1 - \pi_i`, where :math:`\pi_i`
    is the relative rank of an item by the student as it is now (`guide: teacher` for the
    teacher's). The teacher's logits t are its negative distances, standardised over its list.

    Takes: `rankings` and `confidence`, the listed items without the row's history and target, and
    their distances.

    Costs: no parameters, nothing at inference. A step scores the pool without and the samples
    with gradients.

    Departs: from the paper, which samples all unobserved items, the pool is the stored list and
    `unlisted` random items: those have no distance and get the logit of the list's tail, or with
    `scores: product` or `distance` their own (needs `histories` and `embeddings`). Rows take
    the place of users, and the base loss stays as it is, where the paper's sees observed items
    only; under ce, which leaves the level of a row's scores free, the term fixes it. Samples are
    drawn anew at each step; a public port draws pairs once and keeps the one that the teacher
    ranks higher, which is `sampler: linear` with `guide: teacher`. The ranks of `exponential` are
    places of the pool, as in that port, and not shares of it, as in the paper.
    """

    class Config(ScoredConfig):
        weight: NonNegativeFloat = Field(0.1, description="lambda, weight of the term")
        samples: PositiveInt = Field(50, description="|S|, items per row")
        guide: Literal["student", "teacher"] = Field("student", description="whose ranks guide")
        sampler: Literal["linear", "exponential", "uniform"] = Field(
            "linear", description="p in proportion to 1 - rank / count, e^{-rank / decay} or 1"
        )
        decay: PositiveFloat = Field(20.0, description="of the exponential sampler, in ranks")
        unlisted: NonNegativeInt = Field(50, description="random items beside the list")
        temperature: PositiveFloat = Field(1.0, description="T_1")
        shift: float = Field(0.0, description="T_2, larger values say that all is liked")
        best: PositiveInt = Field(100, description="items of the pool by scores of vectors")

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        self.covered = coverage(knowledge)
        self.n_items = student.n_items
        if self.config.scores == "listed":
            assert knowledge.rankings is not None  # noqa: S101 - guaranteed by `signals`
            assert knowledge.distances is not None  # noqa: S101 - guaranteed by `signals`
            self.rankings, self.distances = knowledge.rankings, knowledge.distances
            self.teacher = None
        else:
            self.teacher = teacher_scores(knowledge, self.config.scores)

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        scores = None if self.teacher is None else self.teacher(batch.row_id)
        listed = None if scores is None else scores.top(self.config.best)
        pool, usable = self._pool(batch, listed)
        chosen = gumbel_top_k(
            self._log_weights(pool, usable, output), self.config.samples, batch.generator
        )
        items, usable = pool.gather(1, chosen), usable.gather(1, chosen)
        if scores is None:
            soft = self.soft_labels(batch.row_id).gather(1, chosen)
        else:
            soft = self._softened(scores.at(items.clamp(min=1)))
        values = F.binary_cross_entropy_with_logits(output.scores(items), soft, reduction="none")
        count = usable.sum(dim=1)
        row_loss = values.masked_fill(~usable, 0.0).sum(dim=1) / count.clamp(min=1)
        return {"cd": self.config.weight * covered_mean(row_loss, count > 0)}

    def _pool(self, batch: Batch, listed: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The list and the unlisted items, [B, K_T + unlisted], and which of them can be drawn."""
        listed = self.rankings[batch.row_id] if listed is None else listed
        observed = torch.cat([batch.history, batch.target.unsqueeze(1)], dim=1)
        unlisted = uniform_outside(
            torch.cat([listed, observed], dim=1),
            self.config.unlisted,
            self.n_items,
            batch.generator,
        )
        unlisted = unlisted.sort(dim=1).values
        usable = torch.cat([~contains(observed, listed), first_of_each(unlisted)], dim=1)
        return torch.cat([listed, unlisted], dim=1), usable & self.covered[batch.row_id, None]

    @torch.no_grad()
    def _log_weights(self, pool: Tensor, usable: Tensor, output: Output) -> Tensor:
        """What a draw from the pool is in proportion to, float [B, P]; -inf is impossible."""
        if self.config.guide == "student":
            rank = ranks(output.scores(pool), usable)
        else:
            rank = usable.cumsum(dim=1) - 1  # unlisted items stand behind the list
        if self.config.sampler == "linear":
            log_weights = torch.log1p(-rank / usable.sum(dim=1, keepdim=True))
        elif self.config.sampler == "exponential":
            log_weights = -(rank + 1) / self.config.decay
        else:
            log_weights = torch.zeros_like(rank, dtype=torch.float32)
        return log_weights.where(usable, -torch.inf)

    def soft_labels(self, row_id: Tensor) -> Tensor:
        """The q of every item of the pools, float32 [B, K_T + unlisted]."""
        distances = self.distances[row_id]
        spread, mean = torch.std_mean(distances, dim=1, correction=0, keepdim=True)
        logits = (mean - distances) / (spread + 1e-6)
        listed = self._softened(logits)
        tail = listed[:, -1:].expand(-1, self.config.unlisted)
        return torch.cat([listed, tail], dim=1)

    def _softened(self, logits: Tensor) -> Tensor:
        return torch.sigmoid((logits + self.config.shift) / self.config.temperature)
