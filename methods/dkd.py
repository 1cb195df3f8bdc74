"""Decoupled knowledge distillation: the target apart from the order of the others."""

from __future__ import annotations

import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from bench.distillation import Batch, Knowledge, Output, Student
from bench.distillation.lists import coverage
from bench.distillation.losses import covered_mean
from bench.distillation.plackett_luce import NO_MASS
from bench.distillation.teacher_scores import ScoredConfig, ScoredItems, ScoredMethod
from bench.registry import register_method


@register_method("dkd", needs={"rankings", "confidence"})
class DecoupledDistillation(ScoredMethod):
    r"""Match how sure the teacher is of the target, and how it ranks the others, each by itself.

    Borui Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022.

    .. math::
        L = T^2 \Big[ \alpha\, \mathrm{KL}\big( (b', 1 - b') \,\|\, (b, 1 - b) \big)
        + \beta \sum_{i \ne y} \hat t_i \log \frac{\hat t_i}{\hat p_i} \Big]

    with the probability b of a row's target y by the student and b' by the teacher, and their
    distributions :math:`\hat p` and :math:`\hat t` over the other listed items, all at the
    temperature T. Plain distillation is :math:`\beta = 1 - b'`: a teacher that is sure of the
    target then teaches nothing else.

    Takes: the first `top_k` of `rankings` and the distances of these items (`confidence`), negated
    and standardised within the list.

    Costs: no parameters; K scores a step and one pass over the catalogue, a second block with
    gradients where T is not 1; nothing at inference.

    Departs: the paper's teacher gives logits of all classes, which `scores: product` or `distance`
    make of its vectors (needs `histories` and `embeddings`; a block with gradients). With lists,
    items beyond share the mass `rest`: b' is (1 - rest) times the target's share of the list, or
    half of `rest` if it is not listed, and :math:`\hat p` is over the list. The program takes y out
    by subtracting 1,000 from its logit, and has alpha 1, beta 8, T 4 (CIFAR) or beta 0.5, T 1
    (ImageNet).
    """

    class Config(ScoredConfig):
        weight: NonNegativeFloat = Field(1.0, description="weight of the whole term")
        target: NonNegativeFloat = Field(1.0, description="alpha, of the target's probability")
        others: NonNegativeFloat = Field(1.0, description="beta, of the distribution of the others")
        temperature: PositiveFloat = Field(1.0, description="T")
        top_k: PositiveInt = Field(100, description="teacher items used per row")
        rest: float = Field(0.1, ge=0.0, lt=1.0, description="the teacher's mass beyond the list")
        warm_up: NonNegativeInt = Field(
            0, description="epochs over which the weight grows from 0; 0: it is there at once"
        )

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        self.items = ScoredItems(knowledge, self.config.scores, self.config.top_k)
        self.rest = 0.0 if self.items.is_whole else self.config.rest
        self.covered = coverage(knowledge)
        self.share = 1.0
        self.derived = {"top_k": self.items.count}

    def on_epoch_start(self, epoch: int, max_epochs: int) -> dict[str, float]:
        if not self.config.warm_up:
            return {}
        self.share = min(1.0, epoch / self.config.warm_up)
        return {"share": self.share}

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        weight, covered = self.config.weight * self.share, self.covered[batch.row_id]
        target, others = self.divergences(batch, output)
        scale = weight * self.config.temperature**2
        return {
            "dkd_target": scale * self.config.target * covered_mean(target, covered),
            "dkd_others": scale * self.config.others * covered_mean(others, covered),
        }

    def divergences(self, batch: Batch, output: Output) -> tuple[Tensor, Tensor]:
        """Of the target's probability, and of the distribution of the others; both [B]."""
        T = self.config.temperature
        items, student, teacher = self.items.take(batch, output)
        is_target = items == batch.target.unsqueeze(1)
        share = (F.softmax(teacher / T, dim=1) * is_target).sum(dim=1)
        sure = ((1 - self.rest) * share).where(is_target.any(dim=1), self.rest / 2)
        wanted = F.log_softmax((teacher / T).masked_fill(is_target, NO_MASS), dim=1)
        said = F.log_softmax((student / T).masked_fill(is_target, NO_MASS), dim=1)
        others = F.kl_div(said, wanted, reduction="none", log_target=True)
        return self._binary(sure, self._margin(batch, output)), others.sum(dim=1)

    def _margin(self, batch: Batch, output: Output) -> Tensor:
        """The log-odds [B] of the target by the student."""
        target, T = batch.target.unsqueeze(1), self.config.temperature
        if T == 1 and not self.items.is_whole:
            return output.scores(target)[:, 0] - output.log_rest(target)
        logits = output.logits / T
        rest = logits.scatter(1, target, float("-inf")).logsumexp(dim=1)
        return logits.gather(1, target)[:, 0] - rest

    @staticmethod
    def _binary(wanted: Tensor, margin: Tensor) -> Tensor:
        """KL between two-way distributions, one of a probability and one of log-odds [B]."""
        entropy = F.binary_cross_entropy(wanted, wanted, reduction="none")
        return F.binary_cross_entropy_with_logits(margin, wanted, reduction="none") - entropy
