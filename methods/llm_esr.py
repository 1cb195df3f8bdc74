"""LLM-ESR: text beside ids, and self-distillation from similar histories."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from bench.distillation import Batch, Knowledge, Output, Student
from bench.distillation.entities import teacher_table
from bench.distillation.neighbours import SimilarityConfig, SimilarityMethod, meanings, nearest
from bench.registry import register_method

from .init import Init

PART = 4096
"""Rows that are encoded at a time for the bank."""
CLOSED = -2.0
"""Where gates start: a share of 0.12."""


@register_method("llm-esr", needs={"embeddings"})
class LlmEsr(SimilarityMethod):
    r"""Add projected text to the ids, and pull each history towards similar ones of other users.

    Qidong Liu et al., "LLM-ESR: Large Language Models Enhancement for Long-tailed Sequential
    Recommendation", NeurIPS 2024, arXiv 2405.20646.

    .. math::
        x_i = b_i + \sigma(c) \odot a(z_i), \qquad
        L = \frac{1}{d} \lVert h_r - t_r \rVert^2, \quad
        t_r = \frac{1}{n} \sum_{s \in N(r)} \mathrm{sg}(h_s)

    with the student's ids :math:`b_i`, started at principal components of the teacher's vectors
    :math:`z_i`, two linear layers a without anything between, a gate c (`view: gate`; 1 with `sum`)
    and, for the encoded history :math:`h_r` of a row, the n rows N(r) of other users whose
    histories the teacher finds most similar, without gradient.

    Takes: `embeddings`, one vector z per item. A history is the mean of its items' vectors,
    or has the teacher's own (`similarity: histories`).

    Costs: D (D + d) / 2 parameters in training, none at inference. Before training all rows are
    compared with all, R^2 D operations; before each pass they are encoded once (`bank: epoch`), or
    in a step n times those of the batch (`bank: step`). The view projects the catalogue.

    Departs: the original has two tables whose views attend to each other, two states side by side
    and scores of twice the width: another student, so that view and ids are added here. Its
    similar histories are those of users, by a language model's vectors of their texts; it encodes
    them in every step. Rows of one user are never neighbours: prefixes of one history would be.
    In the first pass there is no bank and no term. Its released program lets positions attend to
    their own targets and ranks against 100 sampled items.
    """

    class Config(SimilarityConfig):
        weight: NonNegativeFloat = Field(0.1, description="alpha, weight of the term")
        view: Literal["sum", "gate", "none"] = Field(
            "sum", description="how text joins the ids in the item table"
        )
        neighbours: PositiveInt = Field(10, description="n, similar rows")
        bank: Literal["epoch", "step"] = Field(
            "epoch", description="when similar rows are encoded: before a pass, or in each step"
        )
        start: Literal["pca", "ace", "random"] = Field(
            "pca", description="of the ids: reduced text as in `init`, or the student's own"
        )

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        assert knowledge.embeddings is not None  # noqa: S101 - guaranteed by `needs`
        assert knowledge.rows is not None  # noqa: S101 - there in every trial
        if self.config.start != "random":
            started = Init(Init.Config(reducer=self.config.start))
            started.attach(student, knowledge)
            self.derived = dict(started.derived)
        if self.config.view != "none":
            self.text = teacher_table(knowledge.embeddings, "standardise", None)
            size, width = self.text.shape[1], student.width
            middle = max(1, size // 2)
            self.adapter = nn.Sequential(nn.Linear(size, middle), nn.Linear(middle, width))
            if self.config.view == "gate":
                self.gate = nn.Parameter(torch.full((width,), CLOSED, device=self.text.device))
            student.fuse(self.view)
        self.rows, self.encode = knowledge.rows, student.encode
        self.switch = student.train
        self.similar = nearest(
            meanings(knowledge, self.config.similarity), self.rows.user, self.config.neighbours
        )
        self.derived["neighbours"] = self.similar.shape[1]
        self.states: Tensor | None = None

    def view(self, which: Tensor | slice) -> Tensor:
        """What text adds to the items `which` [U] picks, float32 [U, d]."""
        text: Tensor = self.adapter(self.text[which])
        return text * self.gate.sigmoid() if self.config.view == "gate" else text

    def on_epoch_start(self, epoch: int, max_epochs: int) -> dict[str, float]:
        if self.config.bank == "epoch" and self.config.weight:
            self.states = None if epoch == 1 else self._encoded()
        return {}

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        if not self.config.weight or (self.config.bank == "epoch" and self.states is None):
            return {}
        similar = self.similar[batch.row_id]
        wanted = self._states_of(similar).mean(dim=1)
        return {"similar": self.config.weight * F.mse_loss(output.hidden, wanted)}

    @torch.no_grad()
    def _states_of(self, rows: Tensor) -> Tensor:
        """Encoded histories float32 [B, n, d] of `rows` [B, n]."""
        if self.states is not None:
            return self.states[rows]
        flat = rows.flatten()
        hidden = self.encode(self.rows.history[flat], self.rows.length[flat], self.rows.user[flat])
        return hidden.unflatten(0, rows.shape)

    @torch.no_grad()
    def _encoded(self) -> Tensor:
        """All training rows as the student encodes them now, without dropout, [R, d]."""
        self.switch(False)
        columns = (self.rows.history, self.rows.length, self.rows.user)
        parts = zip(*(column.split(PART) for column in columns), strict=True)
        states = torch.cat([self.encode(*part) for part in parts])
        self.switch(True)
        return states
