"""Unbiased distillation: pairs within groups of equal popularity."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from bench.distillation import Batch, Knowledge, Method, MethodConfig, Output, Student
from bench.distillation.lists import TeacherLists
from bench.distillation.losses import covered_mean
from bench.registry import register_method

from .pairs import RankPairs, shared_out


@register_method("unkd", needs={"rankings"})
class UnbiasedDistillation(Method):
    r"""Learn the teacher's order of items among items of similar popularity only.

    Gang Chen et al., "Unbiased Knowledge Distillation for Recommendation", WSDM 2023.

    .. math::
        L = \frac{1}{|P|} \sum_{(i, j) \in P} \log \big(1 + e^{-(s_i - s_j)}\big)

    for pairs P of a row, both items of one popularity group and i the one that the teacher ranks
    higher, drawn in proportion to :math:`e^{-(r_i + r_j) / T}` with ranks r within the group.
    Groups have about the same number of training targets in total, and each gets the same number
    of pairs: what the teacher prefers only because it is popular is not handed on.

    Takes: `rankings`, the listed items without the row's history and target.

    Costs: no parameters, nothing at inference. A step scores 2 `pairs` items per row.

    Departs: rows take the place of users, and pairs are drawn at each visit of a row. The program
    ranks 1,000 items of every group; here a group is what a row's list, at most `pool` items,
    holds of it, and the pairs of a group with fewer than two go to the others. Pairs are drawn
    given that they differ, where the program repeats all draws after a tie. The paper's number of
    groups is used, not the program's 2; items that are never a target belong to the last group,
    where the program leaves them out. Its shares of pairs are (max + min - mean) / sum of the
    groups' mean counts, not the reversed list of means that `reversal` takes a power of.
    """

    class Config(MethodConfig):
        weight: NonNegativeFloat = Field(1.0, description="lambda, weight of the term")
        groups: PositiveInt = Field(4, description="G, popularity groups")
        pairs: PositiveInt = Field(32, description="pairs per row")
        decay: PositiveFloat = Field(20.0, description="T of the draws, in ranks")
        reversal: NonNegativeFloat = Field(
            0.0, description="more than 0 gives more pairs to unpopular groups"
        )
        pool: PositiveInt = Field(1000, description="usable listed items that are read, at most")

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        assert knowledge.rankings is not None  # noqa: S101 - guaranteed by `needs`
        self.lists = TeacherLists(knowledge, exclude_target=True, exclude_history=True)
        counts, config = knowledge.target_counts, self.config
        self.group = popularity_groups(counts, config.groups)
        self.shares = group_shares(counts, self.group, config.groups, config.reversal)
        longest = min(config.pool, knowledge.rankings.shape[1])
        self.ranks = RankPairs(max(longest, 2), config.decay, counts.device)

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        better, worse, usable = self.draw(batch)
        scores = output.scores(torch.cat([better, worse], dim=1))
        higher, lower = scores.chunk(2, dim=1)
        # A row has all its pairs or, without a group of two, none.
        row_loss = F.softplus(lower - higher).mean(dim=1)
        return {"unkd": self.config.weight * covered_mean(row_loss, usable)}

    def draw(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Better and worse items of the pairs, ids [B, pairs], and rows [B] that have any."""
        ids, usable = self.lists.take(batch, self.config.pool)
        # A stable sort gathers the items of each group, in the teacher's order.
        group, order = self.group[ids].where(usable, self.config.groups).sort(dim=1, stable=True)
        ids = ids.gather(1, order)
        numbers = torch.arange(self.config.groups, device=ids.device)
        size = (group.unsqueeze(2) == numbers).sum(dim=1)
        start = size.cumsum(dim=1) - size
        chosen = shared_out(self.shares * (size >= 2), self.config.pairs)
        better, worse = self.ranks.draw(size.gather(1, chosen).clamp(min=2), batch.generator)
        start, last = start.gather(1, chosen), ids.shape[1] - 1
        better, worse = ((start + rank).clamp(max=last) for rank in (better, worse))
        return ids.gather(1, better), ids.gather(1, worse), (size >= 2).any(dim=1)


def popularity_groups(counts: Tensor, groups: int) -> Tensor:
    """Group 0..G-1 of every item, int64 [N + 1], most popular first, about equal in total counts.

    Args:
        counts: float32 [N + 1], how often each item is a target; entry 0 pads.
        groups: G.
    """
    ordered, order = counts[1:].double().sort(descending=True, stable=True)
    middle = (ordered.cumsum(0) - ordered / 2) / ordered.sum().clamp(min=1)
    group = torch.zeros_like(counts, dtype=torch.int64)
    group[order + 1] = (middle * groups).long().clamp(max=groups - 1)
    return group


def group_shares(counts: Tensor, group: Tensor, groups: int, reversal: float) -> Tensor:
    """Share of the pairs of each group, float32 [G], before groups that a row lacks are left out.

    The mean counts of the groups, relative to the largest, in reverse order and at least 0.1, to
    the power of `reversal`.
    """
    number = group[1:].bincount(minlength=groups).clamp(min=1)
    mean = torch.zeros(groups, device=counts.device).index_add(0, group[1:], counts[1:]) / number
    return (mean / mean.max().clamp(min=1e-12)).flip(0).clamp(min=0.1) ** reversal
