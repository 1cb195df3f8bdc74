"""Importance-aware ranking distillation, the first half of DLLM2Rec."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor

from bench.distillation import Batch, Knowledge, Method, MethodConfig, Output, Student
from bench.distillation.list_loss import ListForm, ListTerm, PushForm, robust_list_loss
from bench.distillation.list_weights import (
    confidence_weights,
    overlap_weights,
    position_weights,
    renormalised,
)
from bench.distillation.lists import coverage
from bench.distillation.losses import covered_mean, popularity_exponents
from bench.registry import register_method


@register_method("ranking-only", needs={"rankings"})
class RankingOnly(Method):
    r"""Learn the teacher's top-K list, weighted by position, confidence and consistency.

    Yu Cui et al., "Distillation Matters: Empowering Sequential Recommenders to Match the
    Performance of Large Language Models", RecSys 2024, Eqs 5-8, 10, 11.

    .. math::
        L_d = -\sum_{k=1}^{K} w_k \log p(\pi_k), \quad
        w_k = \gamma_p w^p_k + \gamma_c w^c_k + \gamma_o w^o_k

    for the teacher's list :math:`\pi` of a row: :math:`w^p_k \propto e^{-k/\beta}` (position),
    :math:`w^c_k` (confidence, from the teacher's distances) and :math:`w^o_k = 1` if the student's
    own top-K holds :math:`\pi_k` (consistency). Weights carry no gradient.

    Takes: the first K of `rankings` and the distances of these items (`confidence`), or with
    `confidence: ground-truth` the distance to the true next item (`truth-distance`).

    Costs: no parameters; K scores and the student's top K a step; nothing at inference.

    Departs: weights sum to 1 in a row (`renormalise`) and confidence is that of each candidate,
    with a temperature, since few teachers offer the distance to the ground truth (variant `paper`
    has both as printed); p is a softmax under ce and bpr (`list_form`), whose logits a one-sided
    sigmoid pushes up without bound. `official_code` is what the released program computes; its
    `robust_weight` is set apart from the objective's `training.dros_weight`, and rows without a
    list, which that program does not know, count in the means of `robust: broadcast`.
    """

    class Config(MethodConfig):
        weight: NonNegativeFloat = Field(0.8, description="lambda_d, weight of the term")
        top_k: PositiveInt = Field(10, description="K, teacher items used per row")
        temperature: PositiveFloat = Field(1.0, description="beta of the position weights")
        gamma_position: NonNegativeFloat = Field(0.3, description="share of the position weights")
        gamma_confidence: NonNegativeFloat = Field(
            0.5, description="share of the teacher's sureness"
        )
        gamma_consistency: NonNegativeFloat = Field(0.1, description="share of the agreement")
        confidence: Literal["candidate", "ground-truth"] = Field(
            "candidate", description="distance of each listed item, or of the true next item"
        )
        confidence_temperature: PositiveFloat | None = Field(
            None, description="T_c; None is the standard deviation of the distances"
        )
        confidence_floor: NonNegativeFloat = Field(
            0.0, description="added to exp(-distance / T_c); 1e-8 in the released program"
        )
        renormalise: bool = Field(True, description="make the weights of a row sum to 1")
        list_form: ListForm = Field("auto", description="p; auto: softmax under ce and bpr")
        negative_form: PushForm = Field(
            "auto", description="push on the objective's negative: softplus(s), or softplus(s - 1)"
        )
        overlap: Literal["all", "exclude-history"] = Field(
            "all", description="whether the student's top-K may hold items of the history"
        )
        robust: Literal["none", "correct", "broadcast"] = Field(
            "none", description="robust terms of the listed items as well, under the objective dros"
        )
        robust_weight: NonNegativeFloat = Field(0.5, description="alpha of the robust terms")

        @model_validator(mode="after")
        def _confidence_of_a_row_survives(self) -> RankingOnly.Config:
            if self.confidence == "ground-truth" and self.renormalise:
                raise ValueError(
                    "confidence=ground-truth is one number a row, which renormalise=true would "
                    "cancel: set renormalise=false"
                )
            return self

    config: Config

    @classmethod
    def signals(cls, config: Config) -> frozenset[str]:
        by_mode = {"candidate": "confidence", "ground-truth": "truth-distance"}
        return cls.needs | {by_mode[config.confidence]}

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        assert knowledge.rankings is not None  # noqa: S101 - guaranteed by `needs`
        config = self.config
        self.term = ListTerm(student.objective, config.list_form, config.negative_form)
        self.lists, self.covered = knowledge.rankings[:, : config.top_k], coverage(knowledge)
        k = self.lists.shape[1]
        self.position = position_weights(k, config.temperature, self.lists.device)
        self.confidence, scale = confidence_weights(
            knowledge, k, config.confidence, config.confidence_temperature, config.confidence_floor
        )
        self.derived = {"top_k": k, "confidence_temperature": scale}
        self.robust = config.robust if student.objective.is_robust else "none"
        self.exponents = popularity_exponents(knowledge.target_counts)

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        config, items, covered = self.config, self.lists[batch.row_id], self.covered[batch.row_id]
        weights = self.weights(batch, output, items)
        row_loss = self.term.of(batch, output, items, weights)
        terms = {"ranking": config.weight * covered_mean(row_loss, covered)}
        if self.robust != "none":
            values, lost = output.robust(items, self.exponents), self.robust == "broadcast"
            terms["ranking_robust"] = (config.weight * config.robust_weight) * robust_list_loss(
                values, weights, covered, broadcast=lost
            )
        return terms

    def weights(self, batch: Batch, output: Output, items: Tensor) -> Tensor:
        """Weight [B, K] of each listed item; no gradient."""
        config = self.config
        confidence = self.confidence[batch.row_id]
        weights = config.gamma_position * self.position + config.gamma_confidence * confidence
        if config.gamma_consistency:
            weights = weights + config.gamma_consistency * self._consistency(batch, output, items)
        return renormalised(weights) if config.renormalise else weights

    def _consistency(self, batch: Batch, output: Output, items: Tensor) -> Tensor:
        exclude_history = self.config.overlap == "exclude-history"
        return overlap_weights(batch, output, items, exclude_history=exclude_history)
