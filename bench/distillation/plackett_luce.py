"""The relaxed Plackett-Luce likelihood: a ranked list above a set of unranked items."""

from __future__ import annotations

import torch
from torch import Tensor

NO_MASS = -1e30
"""Stands for log 0: adds nothing to a sum, and unlike -inf it keeps gradients finite."""


def log_mass(scores: Tensor, usable: Tensor) -> Tensor:
    """Log-sum-exp [B] of `scores` [B, K] where `usable` [B, K]; `NO_MASS` where nothing is."""
    mass = scores.masked_fill(~usable, NO_MASS).logsumexp(dim=1)
    return mass.masked_fill(~usable.any(dim=1), NO_MASS)


def plackett_luce(
    scores: Tensor, usable: Tensor, rest: Tensor, weights: Tensor | None = None
) -> Tensor:
    r"""Negative log-likelihood of drawing a list in its order, before anything of the rest.

    .. math::
        -\sum_k w_k \Big[ s_k - \log \Big( \sum_{j \ge k} e^{s_j} + e^{\rho} \Big) \Big]

    summed over usable places only; evaluated by a cumulative log-sum-exp from the end, so that
    no sum of exponentials is ever formed or subtracted from.

    Args:
        scores: float [B, K], logits of the list, best first.
        usable: bool [B, K], False for places to be ignored, wherever they are.
        rest: float [B], :math:`\rho`, log-mass of what must stay below the list; may be -inf.
        weights: float [K], w; None is 1 for every place.

    Returns:
        float [B]; 0 in a row without a usable place.
    """
    listed = scores.masked_fill(~usable, NO_MASS)
    # Total mass of a place and of all places after it.
    remaining = listed.flip(1).logcumsumexp(dim=1).flip(1)
    log_likelihood = scores - torch.logaddexp(remaining, rest.unsqueeze(1))
    if weights is not None:
        log_likelihood = log_likelihood * weights
    return -log_likelihood.masked_fill(~usable, 0.0).sum(dim=1)
