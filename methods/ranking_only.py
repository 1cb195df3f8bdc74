"""Importance-aware ranking distillation, the first half of DLLM2Rec."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor

from bench.registry import register_method
from methods.base import Batch, Knowledge, Method, MethodConfig, Output, Student
from methods.losses import covered_mean, popularity_exponents, robust_loss


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

    Departures from the paper, each a setting: weights are normalised per row and confidence is
    that of each candidate, with a temperature, since few teachers offer the distance to the
    ground truth (`paper` has both as printed); p is a softmax under ce and bpr, because a one-sided
    sigmoid pushes shift-invariant logits up without bound. `official_code` is what the released
    program computes. Costs no parameters and nothing at inference.
    """

    class Config(MethodConfig):
        weight: NonNegativeFloat = Field(0.8, description="lambda_d, weight of the term")
        top_k: PositiveInt = Field(10, description="K, teacher items used per row")
        temperature: PositiveFloat = Field(1.0, description="beta of the position weights")
        gamma_position: NonNegativeFloat = 0.3
        gamma_confidence: NonNegativeFloat = 0.5
        gamma_consistency: NonNegativeFloat = 0.1
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
        list_form: Literal["auto", "sigmoid", "softmax"] = "auto"
        negative_form: Literal["auto", "none", "correct", "shifted"] = Field(
            "auto", description="push on the objective's negative: softplus(s), or softplus(s - 1)"
        )
        overlap: Literal["all", "exclude-history"] = Field(
            "all", description="whether the student's top-K may hold items of the history"
        )
        robust: Literal["none", "correct", "broadcast"] = Field(
            "none",
            description="under the objective dros, robust terms of the listed items as well; "
            "`broadcast` loses the weights of rows, as the released program does",
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
        k = min(self.config.top_k, knowledge.rankings.shape[1])
        ranks = torch.arange(1, k + 1, device=knowledge.rankings.device)
        shift_invariant = student.objective in ("ce", "bpr")
        self.list_form = _or(self.config.list_form, "softmax" if shift_invariant else "sigmoid")
        push = "none" if shift_invariant else "correct"
        self.negative_form = _or(self.config.negative_form, push)
        if self.negative_form != "none" and student.objective == "ce":
            raise ValueError(
                f"negative_form={self.negative_form} pushes on the negative that an objective "
                "samples, and ce samples none: use training.objective bpr, bce or dros"
            )
        self.lists = knowledge.rankings[:, :k]
        self.covered = (
            torch.ones_like(self.lists[:, 0], dtype=torch.bool)
            if knowledge.covered is None
            else knowledge.covered
        )
        self.position = F.softmax(-ranks / self.config.temperature, dim=0)
        scale = self.config.confidence_temperature or distance_spread(
            knowledge, self.covered, k, self.config.confidence
        )
        self.confidence = confidence_weights(knowledge, self.covered, k, self.config, scale)
        self.derived = {"top_k": k, "confidence_temperature": scale}
        self.robust = self.config.robust if student.objective == "dros" else "none"
        self.exponents = popularity_exponents(knowledge.target_counts)

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        items = self.lists[batch.row_id]
        covered = self.covered[batch.row_id]
        weights = self.weights(batch, output, items)
        if self.list_form == "softmax":
            row_loss = -(weights * output.log_probs(items)).sum(dim=1)
        else:
            row_loss = (weights * F.softplus(-output.scores(items))).sum(dim=1)
        if batch.negative is not None and self.negative_form != "none":
            shift = 1.0 if self.negative_form == "shifted" else 0.0
            negative = output.scores(batch.negative.unsqueeze(1))[:, 0]
            row_loss = row_loss + F.softplus(negative - shift)
        terms = {"ranking": self.config.weight * covered_mean(row_loss, covered)}
        if self.robust != "none":
            terms["ranking_robust"] = (
                self.config.weight
                * self.config.robust_weight
                * self._robust(weights, output.logits, items, covered)
            )
        return terms

    def weights(self, batch: Batch, output: Output, items: Tensor) -> Tensor:
        """Weight [B, K] of each listed item; no gradient."""
        config = self.config
        weights = (
            config.gamma_position * self.position
            + config.gamma_confidence * self.confidence[batch.row_id]
        )
        if config.gamma_consistency:
            weights = weights + config.gamma_consistency * self._consistency(batch, output, items)
        if config.renormalise:
            weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-12)
        return weights

    def _consistency(self, batch: Batch, output: Output, items: Tensor) -> Tensor:
        k = items.shape[1]
        if self.config.overlap == "all":
            own = output.top_k(k)
        else:
            seen = output.top_k(k + batch.history.shape[1])
            in_history = (seen.unsqueeze(2) == batch.history.unsqueeze(1)).any(dim=2)
            # The k best that are not in the history, in their order.
            order = in_history.to(torch.int8).argsort(dim=1, stable=True)[:, :k]
            own = seen.gather(1, order)
        return (items.unsqueeze(2) == own.unsqueeze(1)).any(dim=2).to(torch.float32)

    def _robust(self, weights: Tensor, logits: Tensor, items: Tensor, covered: Tensor) -> Tensor:
        total = logits.new_zeros(())
        for k in range(items.shape[1]):
            values = robust_loss(logits, items[:, k], self.exponents)
            if self.robust == "broadcast":
                # The released program multiplies [B, 1] by [B]: the weight of a row is lost.
                total = total + weights[:, k].mean() * values.mean()
            else:
                total = total + covered_mean(weights[:, k] * values, covered)
        return total


def distance_spread(knowledge: Knowledge, covered: Tensor, k: int, confidence: str) -> float:
    """T_c where none is given: standard deviation of the distances that `confidence` reads."""
    table = knowledge.truth_distance if confidence == "ground-truth" else knowledge.distances
    assert table is not None  # noqa: S101 - guaranteed by `signals`
    known = table[covered] if table.dim() == 1 else table[covered, :k]
    return float(known.std().clamp(min=1e-6))


def confidence_weights(
    knowledge: Knowledge, covered: Tensor, k: int, config: RankingOnly.Config, scale: float
) -> Tensor:
    """The teacher's confidence weights w^c for all training rows.

    Args:
        knowledge: distances [R, K_T], or truth_distance [R] for `ground-truth`.
        covered: bool [R].
        k: number of list items used.
        config: mode and floor.
        scale: T_c > 0.

    Returns:
        float32 [R, k]: a softmax of -distance / T_c over each list, or (`ground-truth`) one
        number for a whole row, scaled to a mean of 1 / k over the covered rows.
    """
    if config.confidence == "ground-truth":
        assert knowledge.truth_distance is not None  # noqa: S101 - guaranteed by `signals`
        known = knowledge.truth_distance[covered]
        sureness = torch.exp(-(knowledge.truth_distance - known.min()) / scale)
        sureness = sureness / (k * sureness[covered].mean())
        return sureness.unsqueeze(1).expand(-1, k)
    assert knowledge.distances is not None  # noqa: S101 - guaranteed by `signals`
    distances = knowledge.distances[:, :k]
    if config.confidence_floor == 0.0:
        return F.softmax(-distances / scale, dim=1)
    raw = torch.exp(-distances / scale) + config.confidence_floor
    return raw / raw.sum(dim=1, keepdim=True)


def _or(choice: str, automatic: str) -> str:
    return automatic if choice == "auto" else choice
