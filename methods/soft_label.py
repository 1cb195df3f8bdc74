"""Soft labels: the teacher's scores of its own list as a distribution."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from torch import Tensor

from bench.distillation import Batch, Knowledge, Method, MethodConfig, Output, Student
from bench.distillation.lists import coverage, standardised_scores
from bench.distillation.losses import covered_mean
from bench.distillation.plackett_luce import NO_MASS
from bench.registry import register_method


@register_method("soft-label", needs={"rankings", "confidence"})
class SoftLabel(Method):
    r"""Match the teacher's softmax over its top-K list, at a temperature.

    Geoffrey Hinton, Oriol Vinyals and Jeff Dean, "Distilling the Knowledge in a Neural Network",
    NIPS Deep Learning Workshop 2014 (arXiv 1503.02531), Eqs 1-4, restricted to a list.

    .. math::
        L = T^2\, \mathrm{KL}(q \,\|\, p), \quad q_k \propto e^{z_k / T}, \quad
        p_k \propto e^{s_k / T}

    over the first K items of a row's list, with the student's logits :math:`s_k` and the teacher's
    scores :math:`z_k`: its distances, negated and standardised within the list. :math:`T^2` keeps
    the size of gradients when T changes. A plain control for the methods that weigh ranks.

    Three forms of others are settings. `standardise: both` (Shangquan Sun et al., "Logit
    Standardization in Knowledge Distillation", CVPR 2024) standardises s as well, so that the term
    leaves the student's scale alone. `distance: correlation` (Tao Huang et al., "Knowledge
    Distillation from A Stronger Teacher", NeurIPS 2022, DIST) is :math:`1 - \rho(s, z)`, Pearson's
    correlation. `confident` ("Confident Soft Labels", arXiv 2311.02446, CSRec) is
    :math:`\mathrm{KL}(\tfrac12 (q + 1_y) \,\|\, p)` over the list and the row's target y, with p
    at temperature 1 and no :math:`T^2`.

    Takes: the first K of `rankings` and the distances of these items (`confidence`).

    Costs: no parameters; K scores a step, no pass over the catalogue; nothing at inference.

    Departs: the papers' softmaxes are over all classes; here the list is all that a teacher gives,
    so nothing is said about how its items compare with others. DIST compares probabilities, and
    those of an item across a batch too, which takes scores of the same items in every row. CSRec
    weighs the base loss 1/4 and the term 3/4: a weight of 3. `anneal` is after Aref Jafari et al.,
    "Annealing Knowledge Distillation", EACL 2021, whose first phase regresses logits.
    """

    class Config(MethodConfig):
        weight: NonNegativeFloat = Field(0.5, description="weight of the term")
        top_k: PositiveInt = Field(20, description="K, teacher items used per row")
        temperature: PositiveFloat = Field(1.0, description="T of both softmaxes")
        standardise: Literal["teacher", "both", "none"] = Field(
            "teacher", description="whose scores are standardised within the list"
        )
        distance: Literal["kl", "correlation"] = Field(
            "kl", description="between distributions, or 1 - correlation of scores"
        )
        confident: bool = Field(False, description="mix the row's target into q, half and half")
        anneal: NonNegativeInt = Field(
            0, description="epochs in which the weight falls to 0; 0: it stays"
        )

        @model_validator(mode="after")
        def _a_target_is_mixed_into_probabilities(self) -> SoftLabel.Config:
            if self.confident and (self.distance != "kl" or self.standardise == "both"):
                raise ValueError("confident needs distance=kl, and standardise teacher or none")
            return self

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        assert knowledge.rankings is not None  # noqa: S101 - guaranteed by `needs`
        assert knowledge.distances is not None  # noqa: S101 - guaranteed by `needs`
        self.lists = knowledge.rankings[:, : self.config.top_k]
        self.distances = knowledge.distances[:, : self.config.top_k]
        self.covered = coverage(knowledge)
        self.weight = self.config.weight
        self.derived = {"top_k": self.lists.shape[1]}

    def on_epoch_start(self, epoch: int, max_epochs: int) -> dict[str, float]:
        if not self.config.anneal:
            return {}
        share = max(0.0, 1 - (epoch - 1) / self.config.anneal)
        self.weight, self.curriculum_finished = self.config.weight * share, share == 0
        return {"share": share}

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        covered = self.covered[batch.row_id]
        return {"soft_label": self.weight * covered_mean(self.divergence(batch, output), covered)}

    def divergence(self, batch: Batch, output: Output) -> Tensor:
        """Of the student from the teacher in every row, [B]."""
        items, T = self.lists[batch.row_id], self.config.temperature
        scores, distances = output.scores(items), self.distances[batch.row_id]
        teacher = -distances
        if self.config.standardise != "none":
            teacher = standardised_scores(distances)
        if self.config.distance == "correlation":
            return 1 - (_standardised(scores) * _standardised(teacher)).mean(dim=1)
        if self.config.standardise == "both":
            scores = _standardised(scores)
        if self.config.confident:
            own = output.scores(batch.target.unsqueeze(1))
            return confident(scores, own, teacher / T, items == batch.target.unsqueeze(1))
        wanted = F.log_softmax(teacher / T, dim=1)
        said = F.log_softmax(scores / T, dim=1)
        return T**2 * F.kl_div(said, wanted, reduction="none", log_target=True).sum(dim=1)


def confident(scores: Tensor, own: Tensor, teacher: Tensor, is_target: Tensor) -> Tensor:
    """KL(t || p) [B] over a list and the target, t half the teacher's and half the target's.

    Args:
        scores: float [B, K], the student's of the listed items.
        own: float [B, 1], the student's of the target.
        teacher: float [B, K], the teacher's of the listed items.
        is_target: bool [B, K], the listed item that is the target.
    """
    listed = is_target.any(dim=1, keepdim=True)
    said = torch.cat([scores, own.masked_fill(listed, NO_MASS)], dim=1).log_softmax(dim=1)
    wanted = torch.cat([F.softmax(teacher, dim=1) + is_target, (~listed).to(scores.dtype)], dim=1)
    return F.kl_div(said, wanted / 2, reduction="none").sum(dim=1)


def _standardised(scores: Tensor) -> Tensor:
    """Scores [B, K] with mean 0 and variance 1 in a row; zeros, and no gradient, if all equal."""
    centred = scores - scores.mean(dim=1, keepdim=True)
    return centred / centred.square().mean(dim=1, keepdim=True).clamp(min=1e-12).sqrt()
