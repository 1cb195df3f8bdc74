"""Hierarchical topology distillation."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor

from bench.distillation import Batch, Knowledge, Output, Student
from bench.distillation.entities import directions, squared_error
from bench.distillation.experts import ExpertMethod
from bench.distillation.histories import EntityConfig, entity_vectors
from bench.registry import register_method


@register_method("htd", needs={"embeddings"})
class HierarchicalTopology(ExpertMethod):
    r"""Copy the teacher's item similarities within groups, and those between groups and items.

    SeongKu Kang et al., "Topology Distillation for Recommender System", KDD 2021, the form called
    HTD, as its released program computes it:

    .. math::
        L_{HTD} = \alpha (L_{entity} + L_{group}) + (1 - \alpha) L_{GA}

    for the items of a batch with the student's embeddings e (its scoring table) and the teacher's
    t. :math:`L_{GA} = \lVert t - \sum_g z_g f_g(e) \rVert^2` assigns items to G groups: z is a
    Gumbel-softmax over a linear layer on t and each group has an expert f (see `de`). With the
    likeliest group of every item, :math:`L_{entity}` is the mean of
    :math:`(\cos(e_i, e_j) - \cos(t_i, t_j))^2` over pairs of one group, and :math:`L_{group}` that
    of :math:`(\cos(p_g, e_i) - \cos(q_g, t_i))^2` over groups and items, where p and q are the
    means of a group's student and teacher vectors.

    Takes: `embeddings`, one vector t per item, standardised per dimension. With `users` also
    `histories` in the space of the items, one vector t per example: histories then are entities
    beside the items, in G groups of their own.

    Costs: G (d + D)^2 / 2 expert weights and a layer of D G in training, at most 50 million (wider
    teachers: `pca_dim`), nothing at inference. A step passes at most `max_items` items through all
    experts and compares all their pairs.

    Departs: each part is a mean over what it compares, not a sum, so `weight` is not the published
    1e-3. As in the program, pairs that the teacher finds dissimilar are left out (`pairs: all`)
    and a group is compared with its own members too (`exclude_own_group`); means p carry no
    gradient, except where groups are compared with groups (`group: prototypes`), which would have
    none. The temperature of z falls from 1 towards 1e-10, as published, but not below 1e-3. The
    original always has users, whose place histories take (`users`). No more than `max_items` of a
    batch are compared, since what is compared grows with their square.
    Teacher vectors are standardised (`normalise: none`).
    """

    class Config(EntityConfig):
        weight: NonNegativeFloat = Field(0.1, description="lambda, weight of the whole")
        groups: PositiveInt = Field(30, description="G, number of groups and experts")
        max_items: PositiveInt = Field(1024, description="items of a batch used, pair by pair")
        alpha: Annotated[float, Field(ge=0, le=1)] = Field(0.5, description="share of topology")
        pairs: Literal["positive", "all"] = Field(
            "positive", description="pairs within a group: those with teacher cosine > 0, or all"
        )
        group: Literal["items", "prototypes"] = Field(
            "items", description="what the mean of a group is compared with"
        )
        exclude_own_group: bool = Field(
            False, description="compare a group with others' items only"
        )

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        self.items, self.histories = entity_vectors(knowledge, self.config)
        self.attach_experts(self.config.groups, student, knowledge)

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        student, teacher, present, rebuilt = self.rebuilt(batch, output)
        groups = self.experts.groups(teacher, present)
        if self.histories is not None:
            more = self.rebuilt_histories(batch, output)
            groups = torch.block_diag(groups, self.history_experts.groups(more[1], more[2]))
            student, teacher, present, rebuilt = (
                torch.cat(both)
                for both in zip((student, teacher, present, rebuilt), more, strict=True)
            )
        assignment = squared_error(rebuilt, teacher, present)
        topology = self.entity_level(student, teacher, groups)
        topology = topology + self.group_level(student, teacher, groups)
        weight, alpha = self.config.weight, self.config.alpha
        return {
            "topology": weight * alpha * topology,
            "assignment": weight * (1 - alpha) * assignment,
        }

    def entity_level(self, student: Tensor, teacher: Tensor, groups: Tensor) -> Tensor:
        """Mean squared difference of cosines over pairs within a group; groups [E, G] one-hot."""
        wanted = cosines(teacher, teacher)
        kept = (groups @ groups.T > 0).fill_diagonal_(False)
        if self.config.pairs == "positive":
            kept = kept & (wanted > 0)
        return mean_where(kept, cosines(student, student), wanted)

    def group_level(self, student: Tensor, teacher: Tensor, groups: Tensor) -> Tensor:
        """Mean squared difference of cosines of groups with items, or with other groups."""
        size = groups.sum(dim=0).unsqueeze(1)
        members = groups.T / size.clamp(min=1)
        own, theirs = members @ student, members @ teacher
        exists = size > 0
        if self.config.group == "prototypes":
            kept = (exists & exists.T).fill_diagonal_(False)
            return mean_where(kept, cosines(own, own), cosines(theirs, theirs))
        kept = exists & groups.any(dim=1)
        if self.config.exclude_own_group:
            kept = kept & (groups.T == 0)
        return mean_where(kept, cosines(own.detach(), student), cosines(theirs, teacher))


def cosines(left: Tensor, right: Tensor) -> Tensor:
    """[X, Y] cosines of vectors [X, D] and [Y, D]; 0 with a vector of no length."""
    return directions(left) @ directions(right).T


def mean_where(kept: Tensor, student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference where `kept` is true; 0 where it nowhere is."""
    wanted = torch.where(kept, teacher, student.detach())
    return F.mse_loss(student, wanted, reduction="sum") / kept.count_nonzero().clamp(min=1)
