"""Regularisers that RecBole adds inside a model's own loss, beside the objective.

Weights and norms are RecBole's: `reg_weight` of the model, unsquared L2 norms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Penalty = Callable[[Any], Tensor]
"""Of a RecBole model whose `item_embedding` is an `ItemTable`, a scalar to add to its loss."""


def _caser(model: Any) -> Tensor:
    weights = [
        model.user_embedding.weight,
        model.item_embedding.weight,
        model.conv_v.weight,
        model.fc1.weight,
        model.fc2.weight,
    ]
    return model.reg_weight * model.reg_loss(weights) + model.reg_loss_conv_h()


def _nextitnet(model: Any) -> Tensor:
    # RecBole's own sum over blocks starts from a number, which it stays at a weight of 0.
    blocks = torch.as_tensor(model.reg_loss_rb())
    weights = [model.item_embedding.weight, model.final_layer.weight]
    return model.reg_weight * model.reg_loss(weights) + blocks


PENALTIES: dict[str, Penalty] = {"Caser": _caser, "NextItNet": _nextitnet}
