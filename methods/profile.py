"""User profiles: encoded histories learn what the teacher makes of the user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, NonNegativeInt
from torch import Tensor, nn

from bench.distillation import Batch, Knowledge, Method, MethodConfig, Output, Stage, Student
from bench.distillation.entities import directions
from bench.distillation.lists import coverage
from bench.distillation.losses import covered_mean
from bench.distillation.spectrum import Spectrum
from bench.registry import register_method


@register_method("profile", needs={"histories"})
class Profile(Method):
    r"""Regress the teacher's vector of a row's history from the student's, for the first passes.

    "Pre-trained LLMs Meet Sequential Recommenders: Efficient User-Centric Knowledge Distillation",
    ECIR 2026, arXiv 2604.21536; the hidden-state distillation of LEADER, arXiv 2402.02803.

    .. math::
        L = \frac{1}{m} \lVert P h_r - u_r \rVert^2

    with the student's encoded history :math:`h_r`, a linear map P that is trained along and dropped
    afterwards, and the teacher's vector :math:`u_r` of the row's history: its first m = d principal
    components, or with `reduce: none` itself, at mean square 1. `distance: cosine` is
    :math:`1 - \cos(P h_r, u_r)`. After `warm` passes, or sooner where validation stops improving,
    the base objective goes on alone from the best state.

    Takes: `histories`, one vector per training row; no items and no lists.

    Costs: d m parameters in training, none at inference; one small product a step.

    Departs: the paper's vectors are a sentence encoder's of a profile that a language model wrote,
    reduced by UMAP, and its users have one each; here a row has what the teacher makes of it.
    """

    class Config(MethodConfig):
        weight: NonNegativeFloat = Field(0.4, description="weight of the term (LEADER)")
        distance: Literal["squared", "cosine"] = Field("squared", description="of P h from u")
        warm: NonNegativeInt = Field(
            10, description="passes with the term at most; 0: it stays to the end"
        )
        reduce: Literal["pca", "none"] = Field("pca", description="m = d components, or all of D")

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        assert knowledge.histories is not None  # noqa: S101 - guaranteed by `needs`
        self.covered = coverage(knowledge)
        self.wanted = self._reduced(knowledge.histories, student.width)
        self.map = nn.Linear(student.width, self.wanted.shape[1])
        self.is_on = True

    def stages(self) -> Sequence[Stage]:
        if not (self.config.warm and self.config.weight):
            return (Stage(),)
        return Stage(max_epochs=self.config.warm), Stage()

    def on_stage_start(self, stage: int) -> None:
        self.is_on = stage == 0

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        if not self.is_on:
            return {}
        said, wanted = self.map(output.hidden), self.wanted[batch.row_id]
        if self.config.distance == "squared":
            values = F.mse_loss(said, wanted, reduction="none").mean(dim=1)
        else:
            values = 1 - (directions(said) * directions(wanted)).sum(dim=1)
        return {"profile": self.config.weight * covered_mean(values, self.covered[batch.row_id])}

    def _reduced(self, histories: Tensor, width: int) -> Tensor:
        """The teacher's vectors as they are regressed, float32 [R, m], of covered rows' spread."""
        weights = F.pad(self.covered.double(), (1, 0))
        spectrum = Spectrum.of(F.pad(histories, (0, 0, 1, 0)), weights)
        kept = spectrum.rank if self.config.reduce == "none" else min(width, spectrum.rank)
        self.derived = {"components": kept, **spectrum.facts(kept)}
        vectors = spectrum.components[:, :kept]
        if self.config.reduce == "none":
            vectors = vectors @ spectrum.axes.T
        scale = (self.covered.double() @ vectors.square().mean(dim=1)) / self.covered.sum()
        return (vectors / scale.sqrt().clamp(min=1e-12)).float()
