"""Soft labels: the teacher's scores of its own list as a distribution."""

from __future__ import annotations

import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from bench.distillation import Batch, Knowledge, Method, MethodConfig, Output, Student
from bench.distillation.lists import coverage, standardised_scores
from bench.distillation.losses import covered_mean
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

    Takes: the first K of `rankings` and the distances of these items (`confidence`).

    Costs: no parameters; K scores a step, no pass over the catalogue; nothing at inference.

    Departs: the paper's softmax is over all classes and its teacher's logits are at hand; here the
    list is all that a teacher gives, so nothing is said about how its items compare with others.
    """

    class Config(MethodConfig):
        weight: NonNegativeFloat = Field(0.5, description="weight of the term")
        top_k: PositiveInt = Field(20, description="K, teacher items used per row")
        temperature: PositiveFloat = Field(1.0, description="T of both softmaxes")

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        assert knowledge.rankings is not None  # noqa: S101 - guaranteed by `needs`
        assert knowledge.distances is not None  # noqa: S101 - guaranteed by `needs`
        self.lists = knowledge.rankings[:, : self.config.top_k]
        self.distances = knowledge.distances[:, : self.config.top_k]
        self.covered = coverage(knowledge)
        self.derived = {"top_k": self.lists.shape[1]}

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        scores, T = output.scores(self.lists[batch.row_id]), self.config.temperature
        wanted = F.log_softmax(standardised_scores(self.distances[batch.row_id]) / T, dim=1)
        said = F.log_softmax(scores / T, dim=1)
        divergence = T**2 * F.kl_div(said, wanted, reduction="none", log_target=True).sum(dim=1)
        covered = self.covered[batch.row_id]
        return {"soft_label": self.config.weight * covered_mean(divergence, covered)}
