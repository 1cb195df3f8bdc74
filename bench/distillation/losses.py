"""Loss terms that several methods (and the base objectives) share."""

from __future__ import annotations

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


def covered_mean(values: Tensor, covered: Tensor) -> Tensor:
    """Mean of per-row `values` [B] over the rows where `covered` [B] is true; 0 without any."""
    weight = covered.to(values.dtype)
    return (values * weight).sum() / weight.sum().clamp(min=1.0)
