"""How much each of several tasks counts, from the gradients that they give shared parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_SMALLEST = 1e-12


def task_weights(gradients: Sequence[Tensor], alpha: float) -> Tensor:
    """The weights of DELRec's tasks: those with the smaller gradient count more.

        w_j ~ tau_j^alpha,   tau_j = (L_j / stop_gradient(L_j)) / ||dL_j / dP||

    and sum to 1. The quotient of losses has the value 1, and no gradient flows through a weight.

    Args:
        gradients: dL_j / dP of each task j, all of P in one tensor.
        alpha: 0 makes all weights equal.

    Returns:
        float32 [J].
    """
    norms = torch.stack([gradient.detach().float().norm() for gradient in gradients])
    # A softmax of logarithms neither overflows nor divides by zero.
    return torch.softmax(-alpha * norms.clamp_min(_SMALLEST).log(), dim=0)
