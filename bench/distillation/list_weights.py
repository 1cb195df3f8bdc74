"""Weights of the items of a teacher's list."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.distillation import Batch, Knowledge, Output
from bench.distillation.lists import contains, coverage, first


def position_weights(k: int, temperature: float, device: torch.device) -> Tensor:
    """float32 [k], e^{-rank / temperature} for the ranks 1..k, scaled to the sum 1."""
    return F.softmax(-torch.arange(1, k + 1, device=device) / temperature, dim=0)


def confidence_weights(
    knowledge: Knowledge,
    k: int,
    of: Literal["candidate", "ground-truth"],
    temperature: float | None,
    floor: float,
) -> tuple[Tensor, float]:
    """How sure the teacher is of the first k items of every training row.

    Args:
        knowledge: distances [R, K_T] for `candidate`, truth_distance [R] for `ground-truth`.
        k: items used per row.
        of: weights of the items of a row (e^{-distance / T} + floor, with the sum 1), or one
            weight e^{-distance / T} for a whole row, scaled to a mean of 1 / k over covered rows.
        temperature: T > 0; None is the standard deviation of the distances read.
        floor: added before the weights of a row are scaled.

    Returns:
        float32 [R, k], and T.
    """
    covered = coverage(knowledge)
    table = knowledge.truth_distance if of == "ground-truth" else knowledge.distances
    assert table is not None  # noqa: S101 - guaranteed by the method's signals
    distances = table if of == "ground-truth" else table[:, :k]
    known = distances[covered]
    scale = temperature or float(known.std().clamp(min=1e-6))
    if of == "ground-truth":
        sureness = torch.exp(-(distances - known.min()) / scale)
        sureness = sureness / (k * sureness[covered].mean())
        return sureness.unsqueeze(1).expand(-1, k), scale
    if floor == 0.0:
        return F.softmax(-distances / scale, dim=1), scale
    raw = torch.exp(-distances / scale) + floor
    return raw / raw.sum(dim=1, keepdim=True), scale


def overlap_weights(
    batch: Batch, output: Output, items: Tensor, *, exclude_history: bool
) -> Tensor:
    """float32 [B, K], 1 where the student's own K best items hold the listed item, else 0.

    With `exclude_history` they are its K best outside the row's history.
    """
    k = items.shape[1]
    if not exclude_history:
        return contains(output.top_k(k), items).to(torch.float32)
    seen = output.top_k(k + batch.history.shape[1])
    own, _ = first(seen, ~contains(batch.history, seen), k)
    return contains(own, items).to(torch.float32)


def renormalised(weights: Tensor) -> Tensor:
    """Weights [B, K] scaled so that every row sums to 1; a row of zeros stays one."""
    return weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-12)
