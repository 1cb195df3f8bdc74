"""Losses between paired vectors of items, some places of which hold none."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.distillation.entities import directions
from bench.distillation.losses import covered_mean


def contrast(queries: Tensor, keys: Tensor, present: Tensor, temperature: float) -> Tensor:
    """InfoNCE on cosines of every item's query with its own key among those of all items.

    Args:
        queries: float [E, d].
        keys: float [E, d].
        present: bool [E], where there is an item.
        temperature: divides the cosines.

    Returns:
        Scalar, mean over the items; 0 where there is one or none.
    """
    scores = directions(queries) @ directions(keys).T / temperature
    mass = scores.masked_fill(~present, torch.finfo(scores.dtype).min).logsumexp(dim=1)
    return covered_mean(mass - scores.diagonal(), present)


def cosine_distance(left: Tensor, right: Tensor, present: Tensor) -> Tensor:
    """Mean over the items that are `present` [E] of 1 - cos of their vectors [E, d]."""
    return covered_mean(1 - (directions(left) * directions(right)).sum(dim=1), present)


def redundancy(left: Tensor, right: Tensor, present: Tensor, off_diagonal: float) -> Tensor:
    r"""Distance of the correlations C of two sets of d columns from the identity (Barlow twins).

    .. math::
        \frac{1}{d} \Big[ \sum_a (C_{aa} - 1)^2 + \gamma \sum_{a \ne b} C_{ab}^2 \Big]

    Args:
        left: float [E, d].
        right: float [E, d].
        present: bool [E], where there is an item: correlations are over these.
        off_diagonal: :math:`\gamma`.

    Returns:
        Scalar; 0 without two items.
    """
    count = present.sum()
    columns = [_standardised(vectors, present.unsqueeze(1), count) for vectors in (left, right)]
    correlations = columns[0].T @ columns[1] / count.clamp(min=1)
    on = (correlations.diagonal() - 1).square().sum()
    off = correlations.square().sum() - correlations.diagonal().square().sum()
    return (count > 1) * (on + off_diagonal * off) / left.shape[1]


def _standardised(vectors: Tensor, present: Tensor, count: Tensor) -> Tensor:
    """Columns with mean 0 and variance 1 over the rows that are present; the others are 0."""
    count = count.clamp(min=1)
    mean = (vectors * present).sum(dim=0) / count
    centred = (vectors - mean) * present
    variance = centred.square().sum(dim=0) / count
    return centred / variance.clamp(min=1e-8).sqrt()
