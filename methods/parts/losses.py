"""Loss terms that several methods (and the base objectives) share."""

from __future__ import annotations

import torch
from torch import Tensor


def popularity_exponents(target_counts: Tensor) -> Tensor:
    """The popularity scores of the robust term, ps_i = ((n_i + 1) / sum_j (n_j + 1))^0.05.

    Source: DROS (Yang et al., SIGIR 2023) as used by DLLM2Rec (Cui et al., RecSys 2024).

    Args:
        target_counts: float32 [N + 1], how often each item is a training target; entry 0 pads.

    Returns:
        float32 [N + 1] in (0, 1); entry 0 is meaningless and must be masked.
    """
    counts = target_counts + 1.0
    return (counts / counts[1:].sum()) ** 0.05


def robust_loss(
    logits: Tensor, target: Tensor, exponents: Tensor, temperature: float = 1.0
) -> Tensor:
    """Distributionally robust term, one value per row, in a form that cannot overflow.

    log( sum_{i != y} exp(ps_i s_i^2 / beta) + exp(ps_y (s_y - 1)^2 / beta) ), evaluated as one
    log-sum-exp over the vector with the target's entry replaced (DROS; DLLM2Rec). The literal sum
    of exponentials overflows float32 once |s| exceeds about 12.

    Args:
        logits: float32 [B, N + 1]; column 0 is padding and is left out.
        target: int64 [B], ids 1..N.
        exponents: float32 [N + 1], `popularity_exponents`.
        temperature: beta > 0.

    Returns:
        float32 [B].
    """
    wanted = torch.zeros_like(logits[:, 1:]).scatter(1, target.unsqueeze(1) - 1, 1.0)
    return (exponents[1:] * (logits[:, 1:] - wanted) ** 2 / temperature).logsumexp(dim=1)


def covered_mean(values: Tensor, covered: Tensor) -> Tensor:
    """Mean of per-row `values` [B] over the rows where `covered` [B] is true; 0 without any."""
    weight = covered.to(values.dtype)
    return (values * weight).sum() / weight.sum().clamp(min=1.0)
