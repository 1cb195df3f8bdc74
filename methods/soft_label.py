"""Soft labels: the teacher's scores of its own list as a distribution."""

from __future__ import annotations

from typing import Literal

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

from bench.distillation import Batch, Knowledge, Output, Student
from bench.distillation.lists import coverage
from bench.distillation.losses import covered_mean
from bench.distillation.soft_labels import (
    confident,
    correlation_across,
    correlation_distance,
    standardised,
)
from bench.distillation.teacher_scores import ScoredConfig, ScoredItems, ScoredMethod
from bench.registry import register_method


@register_method("soft-label", needs={"rankings", "confidence"})
class SoftLabel(ScoredMethod):
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

    Departs: the papers' softmaxes are over all classes. A list says nothing of how its items
    compare with others; `scores: product` or `distance` score all items from the teacher's vectors
    (needs `histories` and `embeddings`; a block with gradients). DIST is then whole: probabilities,
    and those of the batch's targets across its rows too. CSRec weighs the base loss 1/4 and the
    term 3/4: a weight of 3. `anneal` is after Aref Jafari et al., "Annealing Knowledge
    Distillation", EACL 2021, whose first phase regresses logits.
    """

    class Config(ScoredConfig):
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
        def _settings_that_go_together(self) -> SoftLabel.Config:
            if self.confident and (self.distance != "kl" or self.standardise == "both"):
                raise ValueError("confident needs distance=kl, and standardise teacher or none")
            if self.scores != "listed" and self.standardise == "none":
                raise ValueError(f"scores={self.scores} are standardised: standardise=none is not")
            return self

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        config = self.config
        self.items = ScoredItems(
            knowledge, config.scores, config.top_k, standardise=config.standardise != "none"
        )
        self.covered = coverage(knowledge)
        self.weight = config.weight
        self.derived = {"top_k": self.items.count}

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
        T, target = self.config.temperature, batch.target.unsqueeze(1)
        items, scores, teacher = self.items.take(batch, output)
        if self.config.distance == "correlation":
            return self._uncorrelated(batch, scores, teacher)
        if self.config.standardise == "both":
            scores = standardised(scores)
        if self.config.confident:
            return confident(scores, output.scores(target), teacher / T, items == target)
        wanted = F.log_softmax(teacher / T, dim=1)
        said = F.log_softmax(scores / T, dim=1)
        return T**2 * F.kl_div(said, wanted, reduction="none", log_target=True).sum(dim=1)

    def _uncorrelated(self, batch: Batch, scores: Tensor, teacher: Tensor) -> Tensor:
        if self.config.scores == "listed":
            return correlation_distance(scores, teacher)
        T, targets = self.config.temperature, (batch.target - 1).expand(len(scores), -1)
        said, wanted = F.softmax(scores / T, dim=1), F.softmax(teacher / T, dim=1)
        across = correlation_across(
            said.gather(1, targets), wanted.gather(1, targets), self.covered[batch.row_id]
        )
        return T**2 * (correlation_distance(said, wanted) + across)
