"""The negatives of objectives that sample: uniform, exact and without a loop over rows."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.distillation.sampling import uniform_outside


def sample_negatives(
    history: Tensor, target: Tensor, n_items: int, generator: torch.Generator
) -> Tensor:
    """One item per row, uniform over the catalogue without the row's history and target.

    Args:
        history: int64 [B, L], ids 1..N padded with 0.
        target: int64 [B], 1..N.
        n_items: N; must exceed the number of distinct excluded items of any row.
        generator: source of the draws, on the device of `history`.

    Returns:
        int64 [B], ids 1..N.
    """
    excluded = torch.cat([history, target.unsqueeze(1)], dim=1)
    return uniform_outside(excluded, 1, n_items, generator)[:, 0]


def shared_negatives(
    target: Tensor, count: int, n_items: int, proposal: str, generator: torch.Generator
) -> Tensor:
    """Negatives that all rows of a batch share, int64 [K], ids 1..N.

    Args:
        target: int64 [B], the targets of the batch.
        count: K of `uniform`: independent draws from the catalogue.
        n_items: N.
        proposal: `uniform`, or `in-batch`: the targets themselves, K = B.
        generator: source of the draws, on the device of `target`.
    """
    if proposal == "in-batch":
        return target
    return torch.randint(1, n_items + 1, (count,), generator=generator, device=target.device)
