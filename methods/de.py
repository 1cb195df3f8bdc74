"""Distillation experts, the embedding half of DE-RRD."""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor

from bench.distillation import Batch, Knowledge, Output, Student
from bench.distillation.entities import ItemVectors, squared_error
from bench.distillation.experts import ExpertMethod
from bench.distillation.histories import EntityConfig, history_vectors
from bench.registry import register_method


@register_method("de", needs={"embeddings"})
class DistillationExperts(ExpertMethod):
    r"""Rebuild the teacher's item embeddings from the student's with a mixture of experts.

    SeongKu Kang et al., "DE-RRD: A Knowledge Distillation Framework for Recommender System",
    CIKM 2020, the part called DE:

    .. math::
        L_{DE} = \lVert t_i - \sum_{m=1}^{M} z_m E_m(e_i) \rVert^2, \quad
        z = \mathrm{softmax}\big((\log \alpha(t_i) + g) / \tau\big)

    for the items i of a batch: the student's embedding :math:`e_i` (its scoring table), the
    teacher's :math:`t_i` in D dimensions, M experts E (one hidden layer of (d + D) / 2 units), a
    selector :math:`\alpha` (a linear layer with softmax on t), Gumbel noise g and a temperature
    :math:`\tau` that falls with the passes, so that each item ends up with one expert.

    Takes: `embeddings`, one vector t per item, standardised per dimension. With `users` also
    `histories`, one vector t per example: experts and a selector of their own rebuild it from the
    encoded history.

    Costs: M (d + D)^2 / 2 expert weights and a selector of D M in training, at most 50 million
    (wider teachers: `pca_dim`), nothing at inference. A step passes at most `max_items` items
    through all M experts. Experts with more weights than the teacher has numbers, N D, can learn
    it by heart and teach little: use fewer of them on small catalogues.

    Departs: errors are means over items and dimensions, not sums, so `weight` is not the published
    0.01 (`official_code` converts it). The temperature falls from 1 towards 1e-10, as published,
    but not below 1e-3. The squared error is the program's. Items are those of histories and
    targets; the original adds sampled negatives, counts items half, and has users, whose place
    histories take (`users`), with the same weight as items. Teacher vectors are standardised, which
    `normalise: none` switches off.
    """

    class Config(EntityConfig):
        weight: NonNegativeFloat = Field(0.1, description="lambda, weight of the error")
        experts: PositiveInt = Field(30, description="M, number of experts")
        max_items: PositiveInt = Field(1024, description="items of a batch used, by all experts")

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        assert knowledge.embeddings is not None  # noqa: S101 - guaranteed by `needs`
        self.items = ItemVectors(knowledge.embeddings, self.config)
        self.histories = history_vectors(knowledge, self.config)
        self.attach_experts(self.config.experts, student, knowledge)

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        _, teacher, present, rebuilt = self.rebuilt(batch, output)
        terms = {"experts": self.config.weight * squared_error(rebuilt, teacher, present)}
        if self.histories is not None:
            _, teacher, present, rebuilt = self.rebuilt_histories(batch, output)
            error = squared_error(rebuilt, teacher, present)
            terms["history-experts"] = self.config.weight * error
        return terms
