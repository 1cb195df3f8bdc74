"""Base objectives: what a student is trained for, with or without a teacher.

Every objective is a function of the batch and the student's output. Means are over the rows of the
batch; column 0 (padding) never enters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.distillation.losses import popularity_exponents

if TYPE_CHECKING:
    from bench.distillation import Batch, Output
    from bench.training.config import TrainingConfig

Objective = Callable[["Batch", "Output"], Tensor]

NEEDS_NEGATIVE = frozenset({"bpr", "bce", "dros"})

ROBUST = frozenset({"dros"})
"""Objectives with a robust term; after a method's list has its own, theirs needs no sweep."""


def make_objective(config: TrainingConfig, target_counts: Tensor) -> Objective:
    """The objective that `config` names.

    Args:
        config: objective and, for dros, its weight and temperature.
        target_counts: float32 [N + 1], how often each item is a training target.
    """
    if config.objective == "dros":
        return _Dros(config.dros_weight, config.dros_temperature, target_counts)
    return {"ce": cross_entropy, "bpr": bayesian_personalised, "bce": binary_cross_entropy}[
        config.objective
    ]


def cross_entropy(batch: Batch, output: Output) -> Tensor:
    """Softmax over the whole catalogue: -mean log softmax(s)[y]."""
    return -output.log_probs(batch.target.unsqueeze(1)).mean()


def bayesian_personalised(batch: Batch, output: Output) -> Tensor:
    """BPR (Rendle et al., UAI 2009): mean softplus(-(s_y - s_n)), n uniform."""
    positive, negative = _pair(batch, output)
    return F.softplus(negative - positive).mean()


def binary_cross_entropy(batch: Batch, output: Output) -> Tensor:
    """SASRec's (Kang & McAuley, ICDM 2018): mean over the 2B scores of positive and negative."""
    positive, negative = _pair(batch, output)
    return 0.5 * (F.softplus(-positive) + F.softplus(negative)).mean()


class _Dros:
    """bce plus a distributionally robust term over the catalogue (Yang et al., SIGIR 2023)."""

    def __init__(self, weight: float, temperature: float, target_counts: Tensor) -> None:
        self.weight, self.temperature = weight, temperature
        self.exponents = popularity_exponents(target_counts)

    def __call__(self, batch: Batch, output: Output) -> Tensor:
        robust = output.robust(batch.target.unsqueeze(1), self.exponents, self.temperature)
        return binary_cross_entropy(batch, output) + self.weight * robust.mean()


def _pair(batch: Batch, output: Output) -> tuple[Tensor, Tensor]:
    if batch.negative is None:
        raise ValueError("this objective needs a sampled negative in the batch")
    scores = output.scores(torch.stack([batch.target, batch.negative], dim=1))
    return scores[:, 0], scores[:, 1]
