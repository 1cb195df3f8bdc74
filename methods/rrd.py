"""Relaxed ranking distillation, the list-wise half of DE-RRD."""

from __future__ import annotations

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from bench.distillation import Batch, Knowledge, Method, MethodConfig, Output, Student
from bench.distillation.lists import TeacherLists
from bench.distillation.losses import covered_mean
from bench.distillation.plackett_luce import NO_MASS, log_mass, plackett_luce
from bench.distillation.sampling import gumbel_top_k, uniform_outside
from bench.registry import register_method


@register_method("rrd", needs={"rankings"})
class RelaxedRankingDistillation(Method):
    r"""Rank the teacher's items in its order, above items that it does not list.

    SeongKu Kang et al., "DE-RRD: A Knowledge Distillation Framework for Recommender System",
    CIKM 2020, the relaxed permutation probability.

    .. math::
        L = -\frac{1}{K} \sum_{k=1}^{K} \log
        \frac{e^{s_{\pi_k}}}{\sum_{i \ge k} e^{s_{\pi_i}} + \sum_{j \in U} e^{s_j}}

    for the K interesting items :math:`\pi` of a row, in the teacher's order, and uninteresting
    items U, uniform over what is neither in the list nor in the row's history nor its target. The
    order within U is left free. K is smaller where a list is shorter.

    Takes: `rankings`, the listed items without the row's history and target.

    Costs: no parameters, nothing at inference. A step scores `top_k` + `uninteresting` items per
    row; `full_rest` reads the scores of the catalogue once more.

    Departs: from the paper, rows take the place of users, and the interesting items are the first
    K, as its authors advised later (`sampling: true` draws them in proportion to
    e^{-rank / T}, anew at every visit of a row). The paper samples from 500 items: here from what
    the teacher stores, at most `pool`. The printed sum is a mean over places and rows. The
    item-side term is left out: rows of a batch have no list of users per item. With `full_rest`,
    U is every item that could be drawn.
    """

    class Config(MethodConfig):
        weight: NonNegativeFloat = Field(0.1, description="lambda, weight of the term")
        top_k: PositiveInt = Field(40, description="K, interesting items per row")
        uninteresting: PositiveInt = Field(40, description="items per row that stay below them")
        sampling: bool = Field(False, description="draw the interesting items from the list")
        temperature: PositiveFloat = Field(10.0, description="T of the draws, in ranks")
        pool: PositiveInt = Field(
            500, description="usable listed items that are looked at, at most"
        )
        full_rest: bool = Field(False, description="all unlisted items stay below, not a sample")

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        assert knowledge.rankings is not None  # noqa: S101 - guaranteed by `needs`
        self.lists = TeacherLists(knowledge, exclude_target=True, exclude_history=True)
        self.derived = {"top_k": min(self.config.top_k, knowledge.rankings.shape[1])}
        self.n_items = student.n_items

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        pool, usable = self.lists.take(batch, self.config.pool)
        items, usable = self._interesting(pool, usable, batch.generator)
        listed = torch.cat([pool, batch.history, batch.target.unsqueeze(1)], dim=1)
        rest = self._rest(listed, batch.generator, output)
        row_loss = plackett_luce(output.scores(items), usable, rest)
        row_loss = row_loss / usable.sum(dim=1).clamp(min=1)
        return {"rrd": self.config.weight * covered_mean(row_loss, usable.any(dim=1))}

    def _interesting(
        self, pool: Tensor, usable: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The K items of a row in the teacher's order: ids and whether there is one."""
        k = self.config.top_k
        if not self.config.sampling:
            return pool[:, :k], usable[:, :k]
        rank = torch.arange(pool.shape[1], device=pool.device)
        log_weights = -(rank + 1) / self.config.temperature
        chosen = gumbel_top_k(log_weights.where(usable, -torch.inf), k, generator)
        return pool.gather(1, chosen), usable.gather(1, chosen)

    def _rest(self, excluded: Tensor, generator: torch.Generator, output: Output) -> Tensor:
        """Log-mass [B] of the uninteresting items, which are outside `excluded` [B, S]."""
        count = 1 if self.config.full_rest else self.config.uninteresting
        drawn = uniform_outside(excluded, count, self.n_items, generator)
        exists = drawn > 0  # false where a small catalogue is excluded as a whole
        if not self.config.full_rest:
            return log_mass(output.scores(drawn), exists)
        rest = output.log_rest(excluded.where(exists, 0))
        return rest.masked_fill(~exists[:, 0], NO_MASS)
