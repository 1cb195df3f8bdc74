"""Activation checkpointing: a batch is encoded part by part, and again in the backward pass.

What an encoder keeps for its backward pass grows with the batch. Here it is kept for one part of
the batch at a time (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

PART_ROWS = 128
"""Rows of a part: larger ones are no faster on a CPU."""


def in_parts(encode: Callable[..., Tensor], *rows: Tensor) -> Tensor:
    """What `encode` makes of B rows, its gradients included, in the memory of `PART_ROWS` rows.

    Dropout draws the same masks in both passes. Whatever tensors `encode` reads besides `rows`
    get their gradients too, but must not be made anew in a call: it is called twice.

    Args:
        encode: tensors of b rows each to [b, d], b <= PART_ROWS.
        rows: tensors of B rows each.

    Returns:
        float32 [B, d].
    """
    parts = zip(*(column.split(PART_ROWS) for column in rows), strict=True)
    return torch.cat([checkpoint(encode, *part, use_reentrant=False) for part in parts])
