"""What a teacher of lists asks of a prompted student: DELRec's two tasks, roles reversed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator
from torch import Tensor

from bench.distillation import Batch, Knowledge, MethodConfig, PromptedStudent
from bench.distillation.list_weights import position_weights
from bench.distillation.lists import coverage
from bench.distillation.losses import covered_mean

from .candidates import candidates, ranking_loss, scores_of
from .temporal_analysis import Analysis, AnalysisConfig


class SimulationConfig(MethodConfig):
    """Settings of the task."""

    weight: NonNegativeFloat = Field(0.5, description="weight of the pattern simulation")
    form: Literal["list", "top1"] = Field("list", description="the listed items, or the first one")


class TaskConfig(MethodConfig):
    """Settings of both tasks."""

    candidates: PositiveInt = Field(20, description="m, items that a task ranks")
    listed: PositiveInt = Field(10, description="h, of them from the teacher's list")
    analysis: AnalysisConfig = AnalysisConfig()
    simulation: SimulationConfig = SimulationConfig()

    @model_validator(mode="after")
    def _some_are_not_listed(self) -> TaskConfig:
        if self.listed >= self.candidates:
            raise ValueError(
                f"listed={self.listed} leaves no other item among candidates={self.candidates}"
            )
        return self


class Simulation:
    """Recommendation-pattern simulating: rank the teacher's list before random items."""

    def __init__(self, config: TaskConfig, student: PromptedStudent, knowledge: Knowledge) -> None:
        assert knowledge.rankings is not None  # noqa: S101 - guaranteed by `needs`
        self.lists = knowledge.rankings[:, : config.listed]
        self.covered = coverage(knowledge)
        self.n_items, self.size = student.n_items, config.candidates
        ranks = 1 if config.simulation.form == "top1" else self.lists.shape[1]
        self.weights = position_weights(ranks, 1.0, self.lists.device)

    def loss(self, batch: Batch, hidden: Tensor, table: Tensor) -> Tensor:
        """Mean over covered rows; hidden: float32 [B, d], table: float32 [N + 1, d]."""
        ids, real = self.candidates(batch)
        values = ranking_loss(scores_of(hidden, table, ids), real, self.weights)
        return covered_mean(values, self.covered[batch.row_id])

    def candidates(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The list first, then random items outside list, history and target: [B, m], bool."""
        listed = self.lists[batch.row_id]
        known = torch.cat([batch.history, batch.target.unsqueeze(1)], dim=1)
        usable = torch.ones_like(listed, dtype=torch.bool)
        return candidates(listed, usable, known, self.n_items, self.size, batch.generator)


class Tasks:
    """Both tasks with their weights."""

    def __init__(self, config: TaskConfig, student: PromptedStudent, knowledge: Knowledge) -> None:
        self.config, self.student = config, student
        self.simulation = Simulation(config, student, knowledge)
        self.analysis = Analysis(
            config.analysis, config.listed, config.candidates, student, knowledge
        )

    @property
    def weighted(self) -> bool:
        """Whether any of them counts."""
        return self.config.analysis.weight + self.config.simulation.weight > 0

    def terms(self, batch: Batch, hidden: Tensor, table: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Terms of the tasks whose weight is above 0, by name."""
        terms = {}
        if weight := self.config.analysis.weight:
            terms["analysis"] = weight * self.analysis.loss(batch, table, mask)
        if weight := self.config.simulation.weight:
            terms["simulation"] = weight * self.simulation.loss(batch, hidden, table)
        return terms

    @torch.no_grad()
    def measure(self, batches: Iterable[Batch], mask: Tensor) -> dict[str, float]:
        """Means of the terms over `batches`; switches dropout off."""
        self.student.eval()
        table = self.student.item_table()
        sums: dict[str, Tensor] = {}
        rows = 0
        for batch in batches:
            hidden = self.student.encode(batch.history, batch.length, batch.user)
            for name, term in self.terms(batch, hidden, table, mask).items():
                sums[name] = sums.get(name, torch.zeros_like(term)) + len(batch.row_id) * term
            rows += len(batch.row_id)
        return {name: float(total) / rows for name, total in sums.items()}
