"""Alignment of the student's items with the teacher's: RLMRec, FAERec and their simple form."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from bench.distillation import Batch, Knowledge, Method, Output, Student
from bench.distillation.alignment import contrast, cosine_distance, redundancy
from bench.distillation.entities import ItemConfig, batch_items, teacher_table
from bench.registry import register_method


@register_method("align", needs={"embeddings"})
class Align(Method):
    r"""Pull every item of the student towards its own text, and away from other items' texts.

    Xubin Ren et al., "Representation Learning with Large Language Models for Recommendation", WWW
    2024 (RLMRec: `con`, `gen`); "FAERec", SIGIR 2026, arXiv 2604.03688 (`redundancy`, `both`).

    .. math::
        L_{con} = -\frac{1}{n} \sum_i \log
        \frac{e^{\cos(x_i, f(z_i)) / \tau}}{\sum_{j \in A} e^{\cos(x_i, f(z_j)) / \tau}}

        L_{red} = \frac{1}{d} \Big[ \sum_a (C_{aa} - 1)^2 + \gamma \sum_{a \ne b} C_{ab}^2 \Big],
        \quad C = \tilde X^T \tilde F / n

    over the n different items A of the histories and targets of a batch, with the student's vector
    :math:`x_i` (its scoring table), the teacher's :math:`z_i` and a two-layer network f that is
    trained along. `gen` is `con` with :math:`\cos(g(x_i), z_j)` and a network g from student to
    teacher; `cosine` is :math:`1 - \cos(x_i, f(z_i))`, without negatives. `redundancy` compares
    columns of x and f(z), standardised over the items, apart for those above and those up to the
    median of training counts; `both` is `con` + `redundancy`.

    Takes: `embeddings`, one vector z per item, standardised per dimension.

    Costs: the network in training, nothing at inference. A step passes at most `max_items` items
    through it and, with negatives, compares each with each.

    Departs: RLMRec is a graph method with texts of users too, and its batches count an item as
    often as it occurs, so that popular items are their own negatives; A has each once. Its weight
    (0.01) is on sums over users, positives and negatives divided by the batch; FAERec does not
    divide the redundancy by d. Masked reconstruction (`gen` of RLMRec) hides no items here, and
    FAERec's gate, which it trains without and tests with, is left out.
    """

    class Config(ItemConfig):
        weight: NonNegativeFloat = Field(0.1, description="weight of the term")
        form: Literal["con", "gen", "cosine", "redundancy", "both"] = Field(
            "con", description="what is compared, and how"
        )
        temperature: PositiveFloat = Field(0.2, description="tau of the contrast")
        off_diagonal: NonNegativeFloat = Field(0.005, description="gamma of the redundancy")
        scope: Literal["history", "target"] = Field(
            "history", description="items of a batch: histories and targets, or targets"
        )
        cycle: NonNegativeInt = Field(
            0, description="epochs in which the weight swings to `low` and back; 0: it stays"
        )
        low: float = Field(0.5, ge=0.0, le=1.0, description="least share of the weight in a cycle")
        max_items: PositiveInt = Field(1024, description="items of a batch used, drawn if more")

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        assert knowledge.embeddings is not None  # noqa: S101 - guaranteed by `needs`
        config, counts = self.config, knowledge.target_counts
        self.teacher = teacher_table(knowledge.embeddings, config.normalise, config.pca_dim)
        sizes = (self.teacher.shape[1], student.width)
        self.network = _network(*(reversed(sizes) if config.form == "gen" else sizes))
        self.popular = counts > counts[1:].median()
        self.share = 1.0

    def on_epoch_start(self, epoch: int, max_epochs: int) -> dict[str, float]:
        if not self.config.cycle:
            return {}
        swing = (1 + math.cos(2 * math.pi * (epoch - 1) / self.config.cycle)) / 2
        self.share = self.config.low + (1 - self.config.low) * swing
        return {"share": self.share}

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        if self.config.scope == "target":
            batch = replace(batch, history=batch.history[:, :0])
        ids, present = batch_items(batch, self.config.max_items)
        student = F.embedding(ids, output.table).masked_fill(~present.unsqueeze(1), 0.0)
        distance = self.distance(ids, student, present)
        return {"align": self.config.weight * self.share * distance}

    def distance(self, ids: Tensor, student: Tensor, present: Tensor) -> Tensor:
        """Of the student's vectors [E, d] of the items `ids` [E] from the teacher's."""
        form, temperature = self.config.form, self.config.temperature
        if form == "gen":
            return contrast(self.network(student), self.teacher[ids], present, temperature)
        teacher = self.network(self.teacher[ids])
        if form == "cosine":
            return cosine_distance(student, teacher, present)
        total = student.new_zeros(())
        if form in ("con", "both"):
            total = total + contrast(student, teacher, present, temperature)
        if form in ("redundancy", "both"):
            popular, gamma = self.popular[ids], self.config.off_diagonal
            for group in (present & popular, present & ~popular):
                total = total + redundancy(student, teacher, group, gamma)
        return total


def _network(given: int, wanted: int) -> nn.Module:
    middle = (given + wanted) // 2
    layers = nn.Linear(given, middle), nn.Linear(middle, wanted)
    for layer in layers:
        nn.init.xavier_uniform_(layer.weight)
    return nn.Sequential(layers[0], nn.LeakyReLU(), layers[1])
