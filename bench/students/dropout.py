"""Dropout whose masks are cut from few draws.

On a CPU, torch draws one random number per element, which is a fifth of a training step of SASRec.
Here one draw of 64 bits decides on four elements.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LEVELS = 2**16


class Dropout(nn.Module):
    """Takes the place of `nn.Dropout`: the same distribution, from other draws.

    On a CPU the probability is rounded to a multiple of 2^-16.
    """

    def __init__(self, p: float) -> None:
        """Args: p: probability of a zero, in [0, 1)."""
        super().__init__()
        self.p = p

    def forward(self, vectors: Tensor) -> Tensor:
        """`vectors` of any shape; while training, each element is zero or scaled by 1 / (1 - p)."""
        dropped = round(self.p * _LEVELS)
        if not self.training or dropped == 0:
            return vectors
        if vectors.device.type != "cpu" or dropped == _LEVELS:
            return F.dropout(vectors, self.p)
        count = vectors.numel()
        # The smallest value of int64 as the lower bound is how `random_` gives all 64 bits.
        draws = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
        levels = draws.view(torch.int16)[:count].view(vectors.shape)
        # Written as numbers at once: a cast of booleans takes four times as long.
        mask = torch.empty_like(levels, dtype=vectors.dtype)
        torch.ge(levels, dropped - _LEVELS // 2, out=mask)
        return vectors * mask.mul_(_LEVELS / (_LEVELS - dropped))


def replace_dropout(module: nn.Module) -> None:
    """Put `Dropout` in the place of every `nn.Dropout` inside `module`."""
    for name, child in module.named_children():
        if type(child) is nn.Dropout:
            setattr(module, name, Dropout(child.p))
        else:
            replace_dropout(child)
