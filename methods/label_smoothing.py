"""Label smoothing: what a softer target is worth by itself, without a teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from bench.distillation import Batch, Knowledge, Method, MethodConfig, Output, Student
from bench.distillation.entities import teacher_table
from bench.distillation.followers import followers, last_items
from bench.distillation.neighbours import CHUNK, nearest_items
from bench.registry import register_method

Means = Callable[[Batch, Output], Tensor]
"""The mean [B] of a student's logits under the prior u of every row."""


@register_method(
    "label-smoothing", needs_where={("prior", "neighbours", "embeddings")}, objectives={"ce"}
)
class LabelSmoothing(Method):
    r"""Mix a distribution that no teacher made into the label.

    Christian Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR
    2016, section 7; Li Yuan et al., "Revisiting Knowledge Distillation via Label Smoothing
    Regularization", CVPR 2020, who show it to be distillation from a virtual teacher. What a method
    gains beyond it is more than a softer label.

    .. math::
        (1 - \alpha)\, \mathrm{CE}(y, p) + \alpha\, \mathrm{CE}(u, p)
        = \mathrm{CE}(y, p) + \alpha \Big( s_y - \sum_i u_i s_i \Big)

    with the student's softmax p. The second term is the method's, :math:`\alpha` its `weight`. By
    `prior`, u is

    - `uniform`: every item alike;
    - `popularity`: :math:`\propto n_i^\gamma`, how often an item is a training target;
    - `transition`: how often an item followed the last one of the history in training;
    - `neighbours`: :math:`\propto e^{\cos(z_y, z_i) / \tau}` over the M items with the vectors
      nearest to the target's: what item vectors say without a model of sequences;
    - `random`: M items, drawn once for every row: lists that say nothing.

    Takes: nothing of a teacher, but for `embeddings` under `prior: neighbours`.

    Costs: no parameters. A mean over the catalogue is one inner product a row, one over a list M
    scores; no pass over the catalogue, and nothing at inference.

    Departs: it asks for the objective `ce`, whose normaliser cancels. `transition` keeps the M most
    frequent followers of an item. Vectors of `neighbours` are standardised per dimension first.
    `random` draws with repetition.
    """

    class Config(MethodConfig):
        weight: float = Field(
            0.1, ge=0, lt=1, description="alpha, share of u in the label; below 1"
        )
        prior: Literal["uniform", "popularity", "transition", "neighbours", "random"] = Field(
            "uniform", description="what u is"
        )
        exponent: PositiveFloat = Field(1.0, description="gamma, of the popularity")
        items: PositiveInt = Field(
            50, description="M, items that a row's u is over: the last three"
        )
        temperature: PositiveFloat = Field(0.1, description="tau, of neighbours")

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        self.means = _PRIORS[self.config.prior](self.config, knowledge)

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        own = output.scores(batch.target.unsqueeze(1)).squeeze(1)
        term = (own - self.means(batch, output)).mean()
        return {"label_smoothing": self.config.weight * term}


def _uniform(config: LabelSmoothing.Config, knowledge: Knowledge) -> Means:
    weights = torch.ones_like(knowledge.target_counts)
    weights[0] = 0
    return _over_the_catalogue(weights)


def _popularity(config: LabelSmoothing.Config, knowledge: Knowledge) -> Means:
    return _over_the_catalogue(knowledge.target_counts**config.exponent)


def _transition(config: LabelSmoothing.Config, knowledge: Knowledge) -> Means:
    assert knowledge.rows is not None  # noqa: S101 - there in every trial
    n_items = len(knowledge.target_counts) - 1
    return _over_lists(*followers(knowledge.rows, n_items, config.items), last_items)


def _neighbours(config: LabelSmoothing.Config, knowledge: Knowledge) -> Means:
    assert knowledge.embeddings is not None  # noqa: S101 - guaranteed by `needs_where`
    ids = nearest_items(knowledge.embeddings, config.items)
    directions = F.normalize(teacher_table(knowledge.embeddings, "standardise", None), dim=1)
    parts = zip(directions.split(CHUNK), ids.split(CHUNK), strict=True)
    cosines = torch.cat([torch.einsum("cd,cmd->cm", own, directions[near]) for own, near in parts])
    weights = (cosines / config.temperature).softmax(dim=1)
    return _over_lists(ids, weights, lambda batch: batch.target)


def _random(config: LabelSmoothing.Config, knowledge: Knowledge) -> Means:
    assert knowledge.rows is not None  # noqa: S101 - there in every trial
    targets, size = knowledge.rows.target, len(knowledge.target_counts)
    ids = torch.randint(1, size, (len(targets), config.items)).to(targets.device)
    return _over_lists(ids, torch.ones_like(ids, dtype=torch.float32), lambda batch: batch.row_id)


def _over_the_catalogue(weights: Tensor) -> Means:
    """Args: weights: float32 [N + 1], of items, the same for every row; entry 0 is 0."""
    shares = weights / weights.sum()
    return lambda batch, output: output.mean_score(shares)


def _over_lists(ids: Tensor, weights: Tensor, key: Callable[[Batch], Tensor]) -> Means:
    """Means over items `ids` [X, M] by `weights` [X, M]; `key` of a batch is their rows."""
    shares = F.normalize(weights, p=1, dim=1)

    def means(batch: Batch, output: Output) -> Tensor:
        listed = key(batch)
        return (shares[listed] * output.scores(ids[listed])).sum(dim=1)

    return means


_PRIORS = {
    "uniform": _uniform,
    "popularity": _popularity,
    "transition": _transition,
    "neighbours": _neighbours,
    "random": _random,
}
