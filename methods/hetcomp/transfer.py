"""Adaptive knowledge transfer of HetComp: first which items belong in a list, then their order."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.distillation.plackett_luce import log_mass, plackett_luce


def relaxed_loss(
    positive: Tensor, listed: Tensor, usable: Tensor, rest: Tensor, share: float | None
) -> Tensor:
    """Every item separately against the rest: its order within the list is not asked for.

    Args:
        positive: float [B], logit of the target.
        listed: float [B, K], logits of the list.
        usable: bool [B, K], False where the list is shorter.
        rest: float [B], log-mass of the items that are neither.
        share: of the target in the loss; None for plain sums.

    Returns:
        float [B].
    """
    each = F.softplus(rest.unsqueeze(1) - listed).masked_fill(~usable, 0.0)
    count = usable.sum(dim=1, keepdim=True)
    return _mixed(F.softplus(rest - positive), each.sum(dim=1, keepdim=True), count, share)


def strict_loss(
    positive: Tensor, listed: Tensor, usable: Tensor, rest: Tensor, top: int, share: float | None
) -> Tensor:
    """The order of the list, and that of its first `top` items once more, above all others.

    Arguments as in `relaxed_loss`; the rest of the shorter list holds what follows in the longer.
    """
    below = torch.logaddexp(rest, log_mass(listed[:, top:], usable[:, top:]))
    orders = [
        plackett_luce(listed, usable, rest),
        plackett_luce(listed[:, :top], usable[:, :top], below),
    ]
    counts = [usable.sum(dim=1), usable[:, :top].sum(dim=1)]
    return _mixed(
        F.softplus(rest - positive), torch.stack(orders, dim=1), torch.stack(counts, dim=1), share
    )


def _mixed(positive: Tensor, sums: Tensor, counts: Tensor, share: float | None) -> Tensor:
    """Loss [B] of the target [B] and of J lists, given sums and numbers of their terms [B, J]."""
    if share is None:
        return positive + sums.mean(dim=1)
    return share * positive + (1 - share) * (sums / counts.clamp(min=1)).mean(dim=1)
