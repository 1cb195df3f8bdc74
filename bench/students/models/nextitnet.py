"""NextItNet (Yuan et al., WSDM 2019), dilated convolutions."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.students.adapter import Adapter


class NextItNet(Adapter):
    """RecBole's forward, and RecBole's regulariser."""

    def penalty(self) -> Tensor:
        """RecBole's: `reg_weight` times unsquared L2 norms."""
        model = self.model
        # RecBole's own sum over blocks starts from a number, which it stays at a weight of 0.
        blocks = torch.as_tensor(model.reg_loss_rb())
        weights = [model.item_embedding.weight, model.final_layer.weight]
        penalty: Tensor = model.reg_weight * model.reg_loss(weights) + blocks
        return penalty
