"""Full topology distillation, the flat form of HTD."""

from __future__ import annotations

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from bench.distillation import Batch, Knowledge, Output, Student
from bench.distillation.entities import directions
from bench.distillation.histories import EntityConfig, EntityMethod, entity_vectors
from bench.registry import register_method


@register_method("ftd", needs={"embeddings"})
class FullTopology(EntityMethod):
    r"""Give every pair of items the cosine similarity that it has for the teacher.

    SeongKu Kang et al., "Topology Distillation for Recommender System", KDD 2021, the form called
    FTD:

    .. math::
        L_{FTD} = \frac{1}{n (n - 1)} \sum_{i \neq j}
        \big(\cos(e_i, e_j) - \cos(t_i, t_j)\big)^2

    over the n different items of the histories and targets of a batch, with the student's
    embeddings e (its scoring table) and the teacher's t.

    Takes: `embeddings`, one vector t per item, standardised per dimension. With `users` also
    `histories` in the space of the items, one vector t per example: encoded histories then stand
    beside the items, and pairs are those of all of them.

    Costs: no parameters and nothing at inference. The sum over pairs is one over products of
    dimensions, :math:`\lVert SS^T - TT^T \rVert^2 = \lVert S^T S \rVert^2 - 2 \lVert S^T T
    \rVert^2 + \lVert T^T T \rVert^2`, so a step needs no table of pairs.

    Departs: a mean over pairs, not a sum, so weights differ from the published ones. The
    original's batch always has users, whose place histories take (`users`). Teacher vectors are
    standardised, which takes out what all have in common (`normalise: none`).
    """

    class Config(EntityConfig):
        weight: NonNegativeFloat = Field(0.1, description="lambda, weight of the topology")

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        self.items, self.histories = entity_vectors(knowledge, self.config)

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        student, teacher, present = self.items.take(batch, output)
        if self.histories is not None:
            more = self.histories.take(batch, output)
            student, teacher, present = (
                torch.cat(both) for both in zip((student, teacher, present), more, strict=True)
            )
        count = present.sum()
        pairs = (count * (count - 1)).clamp(min=1)
        difference = topology_difference(directions(student), directions(teacher))
        return {"topology": self.config.weight * difference / pairs}


def topology_difference(student: Tensor, teacher: Tensor) -> Tensor:
    """Sum over all pairs of the squared differences of the products of [E, d] and of [E, D].

    A vector's pair with itself adds nothing where both have length 1 (or 0).
    """
    own = (student.T @ student).square().sum()
    between = (student.T @ teacher).square().sum()
    theirs = (teacher.T @ teacher).square().sum()
    return own - 2 * between + theirs
