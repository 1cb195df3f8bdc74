"""AdaLoRA (Zhang et al., ICLR 2023): low-rank changes of a model whose ranks are pruned in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import ConfigError
from bench.teachers.language.loading import peft_package
from bench.teachers.weights import quiet


class AdaLoRA:
    """Puts P diag(E) Q beside chosen linear maps of a model, in place.

    Args:
        model: whose own weights stay frozen.
        modules: last part of the names of the linear maps.
        rank: rank of each change at first.
        target_rank: mean rank that is left at the end.
        alpha: changes are scaled by alpha / rank.
        dropout: on their inputs.
        steps: training steps, over which the ranks fall (a cubic schedule).

    Raises:
        ConfigError: peft is not installed, or the model has no linear map of these names.
    """

    def __init__(
        self,
        model: nn.Module,
        modules: Sequence[str],
        rank: int,
        target_rank: int,
        alpha: int,
        dropout: float,
        steps: int,
    ) -> None:
        peft = peft_package()
        config = peft.AdaLoraConfig(
            target_modules=list(modules),
            init_r=rank,
            target_r=target_rank,
            lora_alpha=alpha,
            lora_dropout=dropout,
            total_step=steps,
        )
        try:
            with quiet():
                self._peft: Any = peft.get_peft_model(model, config)
        except ValueError as error:
            raise ConfigError(
                f"the model has no linear maps named {', '.join(modules)}; {error}"
            ) from error
        self.parameters: dict[str, nn.Parameter] = {
            name: parameter
            for name, parameter in self._peft.named_parameters()
            if parameter.requires_grad
        }

    def orthogonality(self) -> Tensor:
        """How far P and Q are from orthogonal: mean Frobenius norm of P^T P - I and Q Q^T - I."""
        norms = []
        for name, parameter in self.parameters.items():
            if "lora_A" in name or "lora_B" in name:
                rows = parameter if "lora_A" in name else parameter.T
                unit = torch.eye(len(rows), device=rows.device)
                norms.append((rows @ rows.T - unit).norm())
        return torch.stack(norms).mean()

    def allocate(self, step: int) -> None:
        """Prune by what the gradients of step 0, 1, ... say; they are still there."""
        self._peft.base_model.update_and_allocate(step)

    def state(self) -> dict[str, dict[str, Tensor]]:
        """What the pruning remembers of the gradients so far."""
        memory = self._peft.base_model.rankallocator
        return {name: dict(getattr(memory, name)) for name in _REMEMBERED}

    def restore(self, state: dict[str, dict[str, Tensor]]) -> None:
        """Return to what `state` gave."""
        device = next(iter(self.parameters.values())).device
        for name in _REMEMBERED:
            values = {key: value.to(device) for key, value in state[name].items()}
            setattr(self._peft.base_model.rankallocator, name, values)


_REMEMBERED = ("ipt", "exp_avg_ipt", "exp_avg_unc")
