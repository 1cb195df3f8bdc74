"""Distances between a teacher's scores and a student's, row by row."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.distillation.plackett_luce import NO_MASS


def standardised(scores: Tensor) -> Tensor:
    """Scores [B, K] with mean 0 and variance 1 in a row; zeros, and no gradient, if all equal."""
    return _directions(scores, torch.ones_like(scores[:1, :1]), dim=1) * scores.shape[1] ** 0.5


def correlation_distance(left: Tensor, right: Tensor) -> Tensor:
    """1 - Pearson's correlation of each row, [B], of values [B, K]."""
    every = torch.ones_like(left[:1, :1])
    return 1 - (_directions(left, every, dim=1) * _directions(right, every, dim=1)).sum(dim=1)


def correlation_across(left: Tensor, right: Tensor, present: Tensor) -> Tensor:
    """1 - Pearson's correlation of each column, [K], over the rows `present` [B] of [B, K]."""
    rows = present.unsqueeze(1).to(left.dtype)
    return 1 - (_directions(left, rows, dim=0) * _directions(right, rows, dim=0)).sum(dim=0)


def confident(scores: Tensor, own: Tensor, teacher: Tensor, is_target: Tensor) -> Tensor:
    """KL(t || p) [B] over a list and the target, t half the teacher's and half the target's.

    Source: "Confident Soft Labels", arXiv 2311.02446 (CSRec).

    Args:
        scores: float [B, K], the student's of the listed items.
        own: float [B, 1], the student's of the target.
        teacher: float [B, K], the teacher's of the listed items.
        is_target: bool [B, K], the listed item that is the target.
    """
    listed = is_target.any(dim=1, keepdim=True)
    said = torch.cat([scores, own.masked_fill(listed, NO_MASS)], dim=1).log_softmax(dim=1)
    wanted = torch.cat([F.softmax(teacher, dim=1) + is_target, (~listed).to(scores.dtype)], dim=1)
    return F.kl_div(said, wanted / 2, reduction="none").sum(dim=1)


def _directions(values: Tensor, weights: Tensor, dim: int) -> Tensor:
    """Centred values at length 1 along `dim`, where weights of 0 leave some out."""
    count = weights.expand_as(values).sum(dim=dim, keepdim=True).clamp(min=1)
    centred = (values - (values * weights).sum(dim=dim, keepdim=True) / count) * weights
    length = centred.square().sum(dim=dim, keepdim=True)
    return centred / length.clamp(min=1e-24).sqrt()
