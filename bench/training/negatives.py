"""Uniform negative items, exact and without a loop over rows."""

from __future__ import annotations

import torch
from torch import Tensor


def sample_negatives(
    history: Tensor, target: Tensor, n_items: int, generator: torch.Generator
) -> Tensor:
    """One item per row, uniform over the catalogue without the row's history and target.

    Draws a position among the N - |excluded| allowed items and steps over the excluded ones in
    ascending order: no rejection, no host synchronisation, no dense mask.

    Args:
        history: int64 [B, L], ids 1..N padded with 0.
        target: int64 [B], 1..N.
        n_items: N; must exceed the number of distinct excluded items of any row.
        generator: source of the draws, on the device of `history`.

    Returns:
        int64 [B], ids 1..N.
    """
    excluded = torch.cat([history, target.unsqueeze(1)], dim=1).sort(dim=1).values
    repeated = torch.zeros_like(excluded, dtype=torch.bool)
    repeated[:, 1:] = excluded[:, 1:] == excluded[:, :-1]
    ignored = repeated | (excluded == 0)
    excluded = excluded.masked_fill(ignored, n_items + excluded.shape[1] + 1).sort(dim=1).values
    allowed = n_items - (~ignored).sum(dim=1)
    uniform = torch.rand(
        len(target), generator=generator, device=target.device, dtype=torch.float64
    )
    negative = 1 + (uniform * allowed).long()
    for column in excluded.unbind(dim=1):
        negative = negative + (negative >= column)
    return negative
