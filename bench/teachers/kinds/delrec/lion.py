"""Lion (Chen et al., NeurIPS 2023), the optimiser that DELRec is trained with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class Lion(torch.optim.Optimizer):
    """Steps of one size in the direction of a sign, with decoupled weight decay.

    With the gradient g and the momentum v (0 at first), at every step

        p <- (1 - lr * decay) p - lr * sign(beta1 v + (1 - beta1) g),   v <- beta2 v + (1 - beta2) g

    Args:
        parameters: what is optimised.
        learning_rate: lr.
        weight_decay: decay.
        betas: beta1 and beta2, as in the paper.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        learning_rate: float,
        weight_decay: float,
        betas: tuple[float, float] = (0.9, 0.99),
    ) -> None:
        defaults = {"lr": learning_rate, "weight_decay": weight_decay, "betas": betas}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step for every parameter that has a gradient; a closure is not called."""
        for group in self.param_groups:
            rate, decay, (near, far) = group["lr"], group["weight_decay"], group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"]
                direction = momentum.lerp(parameter.grad, 1 - near).sign_()
                parameter.mul_(1 - rate * decay).sub_(direction, alpha=rate)
                momentum.lerp_(parameter.grad, 1 - far)
