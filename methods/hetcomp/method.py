"""HetComp: distillation from the trajectories of several models of different kinds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor

from bench.distillation import Batch, Knowledge, Method, MethodConfig, Output, Stage, Student
from bench.distillation.losses import covered_mean
from bench.registry import register_method

from .curriculum import Curriculum, CurriculumConfig
from .trajectories import Trajectories
from .transfer import relaxed_loss, strict_loss


class _Term(MethodConfig):
    weight: NonNegativeFloat = Field(description="weight of the phase's loss")


@register_method("hetcomp", needs={"trajectories"})
class HetComp(Method):
    r"""Learn the consensus of several models, from early to converged states, as the student grows.

    SeongKu Kang et al., "Distillation from Heterogeneous Models for Top-K Recommendation", WWW
    2023, as its released program computes it:

    .. math::
        L_1 = \rho\, \ell_y + (1 - \rho) \operatorname{mean}_{k \in O} \ell_k, \quad
        \ell_k = -s_k + \log\big(e^{s_k} + \textstyle\sum_{j \in U \setminus O} e^{s_j}\big)

        L_2 = \rho\, PL(y) + \tfrac{1 - \rho}{2} \big[ \tfrac{2}{K} PL(O_{1..K/2})
        + \tfrac{10}{K} PL(O_{1..K/10}) \big]

    O: the K items of largest :math:`\sum_m e^{-rank_m / \lambda_e}` over the lists of the teachers
    m at their present states; y: the target; U: all items but y and the history; PL: negative
    Plackett-Luce log-likelihood of an order, above the items of U that are not in it (for y:
    :math:`U \setminus O_{1..K/2}`). While a teacher is not converged the student learns which items
    belong in O (:math:`L_1`), then their order (:math:`L_2`). At look k, every p epochs, teacher m
    moves a user to its next state n unless :math:`1 \le D_{last} / D_n \le 1.05 \cdot 0.995^k`, D
    being the discrepancy of the student's list (`methods/hetcomp/discrepancy.py`).

    Takes: `trajectories`, lists of M models at C states; nothing of their scores.

    Costs: no parameters, nothing at inference. A step gathers K + 1 scores and sweeps the catalogue
    once more. A look encodes at most 5 training rows a user and reads two lists of each teacher for
    them; lists O are rebuilt where a teacher moved. 4 M C R K_T bytes stay on disk (6 models, 4
    states, 120,000 rows, 64 items: 740 MB), 4 K R bytes (48 MB) are held.

    Departs: a row stands for a user and its target for ten observed items, hence rho 1/2
    (`positive_share`); means in place of sums, and the base loss is kept (`official` undoes both).
    p is 1 epoch, not 10 (`curriculum.period`), since early-stopped trainings take 10 to 30, and
    patience counts from the end of the curriculum. A user's D is a mean over sampled rows
    (`curriculum.granularity`). Ranks count what is left of a list without target and history.
    A teacher whose states are all the same is converged from the start: so could a language
    model's lists take part. Left out: weights of teachers, consistency of ranks over time.
    """

    class Config(MethodConfig):
        relaxed: _Term = _Term(weight=0.1)
        strict: _Term = _Term(weight=0.05)
        transfer: Literal["adaptive", "relaxed", "strict"] = Field(
            "adaptive", description="the strict loss follows the relaxed one, or one for all epochs"
        )
        curriculum: CurriculumConfig = CurriculumConfig()
        teachers: tuple[str, ...] | None = Field(None, description="their names; None is all")
        top_k: int = Field(100, ge=10, description="K, length of the ensemble's lists")
        importance_temperature: PositiveFloat = Field(10.0, description="lambda_e, in ranks")
        positive_share: float = Field(0.5, ge=0, le=1, description="rho, share of the target")
        exclude_history: bool = Field(True, description="neither list nor rest hold the history")
        reduction: Literal["mean", "sum"] = Field("mean", description="of rows to a loss")
        base: bool = Field(True, description="whether the base objective is learned as well")

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        config = self.config
        self.teachers = Trajectories(
            knowledge, config.teachers, exclude_history=config.exclude_history
        )
        self.curriculum = Curriculum(config.curriculum, student, self.teachers)
        ranks = torch.arange(self.teachers.listed, device=knowledge.target_counts.device)
        self.importance = torch.exp(-ranks / config.importance_temperature)
        # Something must be left to rank the list against.
        most = student.n_items - 2 - self.teachers.rows.history.shape[1]
        self.top_k = max(1, min(config.top_k, most))
        rows = torch.arange(len(self.teachers.covered), device=ranks.device)
        self.lists = self._ensemble(rows)
        self.derived = {"top_k": self.top_k, "teachers": list(self.teachers.names)}
        self._settle()

    def stages(self) -> Sequence[Stage]:
        return (Stage(base=self.config.base),)

    def on_epoch_start(self, epoch: int, max_epochs: int) -> dict[str, float]:
        moved = self.curriculum.advance(epoch)
        self.lists[moved] = self._ensemble(moved)
        self._settle()
        return {"phase": 2.0 if self.in_order else 1.0} | self.curriculum.summary()

    def _settle(self) -> None:
        finished = self.curriculum.states.finished
        self.in_order = {"adaptive": finished, "relaxed": False, "strict": True}[
            self.config.transfer
        ]
        # A curriculum of weight 0 is none, and nobody waits for it.
        self.curriculum_finished = finished or not (
            self.config.relaxed.weight or self.config.strict.weight
        )

    def _ensemble(self, rows: Tensor) -> Tensor:
        states = self.curriculum.of_rows(rows)
        return self.teachers.consensus(states, rows, self.importance, self.top_k)

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        config = self.config
        # Half of the list has an order; the other half then counts among the rest.
        length = max(1, self.top_k // 2) if self.in_order else self.top_k
        listed = self.lists[batch.row_id, :length].long()
        usable, target = listed > 0, batch.target.unsqueeze(1)
        left_out = [target, listed] + [batch.history] * config.exclude_history
        rest = output.log_rest(torch.cat(left_out, dim=1))
        scores = output.scores(torch.cat([target, listed], dim=1))
        share = None if config.reduction == "sum" else config.positive_share
        given = (scores[:, 0], scores[:, 1:], usable, rest)
        if self.in_order:
            values = strict_loss(*given, max(1, self.top_k // 10), share)
        else:
            values = relaxed_loss(*given, share)
        covered = usable[:, 0]
        total = (values * covered).sum() if share is None else covered_mean(values, covered)
        term = config.strict if self.in_order else config.relaxed
        return {"strict" if self.in_order else "relaxed": term.weight * total}
