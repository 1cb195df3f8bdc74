"""Ranking distillation (RD)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from bench.distillation import Batch, Knowledge, Method, MethodConfig, Output, Student
from bench.distillation.list_loss import ListForm, ListTerm
from bench.distillation.list_weights import position_weights, renormalised
from bench.distillation.lists import TeacherLists
from bench.distillation.losses import covered_mean
from bench.distillation.sampling import uniform_outside
from bench.registry import register_method


@register_method("rd", needs={"rankings"})
class RD(Method):
    r"""Learn the teacher's top-K list, most where the student ranks it too low.

    Jiaxi Tang and Ke Wang, "Ranking Distillation: Learning Compact Ranking Models With High
    Performance for Recommender System", KDD 2018, Section 3.

    .. math::
        L_D = -\sum_{k=1}^{K} w_k \log p(\pi_k), \quad
        w_k \propto e^{-k/\lambda} \tanh(\max(\mu (\hat r_k - k), 0))

    for the teacher's list :math:`\pi` of a row without its target; :math:`\hat r_k` is the rank
    that the student gives :math:`\pi_k`, both ranks counted from 0 in the tanh. It is estimated as
    :math:`\lfloor (N - 1) f \rfloor` from the share f of random items that score higher. During the
    first epochs the weights are the positions' alone. Weights carry no gradient.

    Takes: the first K of `rankings` that are not the row's target.

    Costs: no parameters; K scores and those of the random items a step (`rank_estimate: exact`: one
    search for the student's best items); nothing at inference.

    Departs: the base loss keeps its full weight, where the paper mixes (1 - alpha) with alpha:
    under bce, half of the paper's sum, `weight: 0.5` is alpha = 0.5. p is a softmax under ce and
    bpr (`list_form`), whose logits a sigmoid pushes up without bound. The released program leaves
    the sum of a row's weights as it is (`renormalise`) and draws random items once an epoch.
    """

    class Config(MethodConfig):
        weight: NonNegativeFloat = Field(0.5, description="alpha, weight of the term")
        top_k: PositiveInt = Field(10, description="K, teacher items used per row")
        temperature: PositiveFloat = Field(1.0, description="lambda of the position weights")
        sharpness: PositiveFloat = Field(0.1, description="mu, slope of the discrepancy weights")
        rank_estimate: Literal["sampled", "exact"] = Field(
            "sampled", description="student's ranks from random items, or from its best items"
        )
        samples: PositiveInt = Field(100, description="random items per row")
        hybrid_from: float = Field(
            0.1, ge=0, le=1, description="share of the epochs before the discrepancy counts"
        )
        renormalise: bool = Field(True, description="make the weights of a row sum to 1")
        list_form: ListForm = Field("auto", description="p; auto: softmax under ce and bpr")

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        assert knowledge.rankings is not None  # noqa: S101 - guaranteed by `needs`
        k = min(self.config.top_k, knowledge.rankings.shape[1])
        self.lists = TeacherLists(knowledge, exclude_target=True, exclude_history=False)
        self.term = ListTerm(student.objective, self.config.list_form, "none")
        self.position = position_weights(k, self.config.temperature, knowledge.rankings.device)
        self.places = torch.arange(k, device=knowledge.rankings.device)
        self.n_items, self.hybrid = student.n_items, False
        self.derived = {"top_k": k}

    def on_epoch_start(self, epoch: int, max_epochs: int) -> dict[str, float]:
        self.hybrid = epoch > self.config.hybrid_from * max_epochs
        # A weight of 0 is `none`, its early stopping included.
        self.curriculum_finished = self.hybrid or self.config.weight == 0
        return {"hybrid": float(self.hybrid)}

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        items, listed = self.lists.take(batch, len(self.places))
        weights = self.position * listed
        if self.hybrid:
            weights = weights * self.discrepancy(batch, output, items)
        if self.config.renormalise:
            weights = renormalised(weights)
        row_loss = self.term.of(batch, output, items, weights)
        return {"ranking": self.config.weight * covered_mean(row_loss, listed.any(dim=1))}

    @torch.no_grad()
    def discrepancy(self, batch: Batch, output: Output, items: Tensor) -> Tensor:
        """float32 [B, K] in [0, 1], how far the student ranks an item below the teacher."""
        exact = self.config.rank_estimate == "exact"
        ranks = self._ranks(output, items) if exact else self._estimate(batch, output, items)
        return torch.tanh(self.config.sharpness * (ranks - self.places).clamp(min=0))

    def _estimate(self, batch: Batch, output: Output, items: Tensor) -> Tensor:
        excluded = torch.cat([batch.history, batch.target.unsqueeze(1)], dim=1)
        count = self.config.samples
        others = uniform_outside(excluded, count, self.n_items, batch.generator)
        higher = output.scores(others).unsqueeze(1) > output.scores(items).unsqueeze(2)
        # Rounding may put an item above itself where it was drawn.
        higher &= others.unsqueeze(1) != items.unsqueeze(2)
        return higher.sum(dim=2) * (self.n_items - 1) // count

    def _ranks(self, output: Output, items: Tensor) -> Tensor:
        # Past 10 / mu places below the teacher's, tanh is 1: an item counts as next to the last.
        best = output.top_k(len(self.places) + math.ceil(10 / self.config.sharpness))
        places = torch.arange(best.shape[1], device=best.device)
        found = best.unsqueeze(1) == items.unsqueeze(2)
        return torch.where(found, places, best.shape[1]).amin(dim=2)
