"""Draws for a whole batch at once: exact, without rejection, loops over rows or host waits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def uniform_outside(
    excluded: Tensor, count: int, n_items: int, generator: torch.Generator
) -> Tensor:
    """Independent draws per row, uniform over the catalogue without the row's excluded items.

    Draws a position among the allowed items and steps over the excluded ones below it.

    Args:
        excluded: int64 [B, S], S > 0, ids 1..N in any order; 0 and repetitions are ignored.
        count: number of draws a row; an item may be drawn more than once.
        n_items: N.
        generator: source of the draws, on the device of `excluded`.

    Returns:
        int64 [B, count], ids 1..N; 0 in a row that excludes every item.
    """
    ordered = excluded.sort(dim=1).values
    passed = first_of_each(ordered).cumsum(dim=1)  # excluded items up to and including this one
    allowed = n_items - passed[:, -1:]
    uniform = torch.rand(
        len(excluded), count, generator=generator, device=excluded.device, dtype=torch.float64
    )
    position = 1 + (uniform * allowed).long()
    # Below an excluded item there are `ordered - passed` allowed ones; with fewer than `position`
    # of them, the item that is looked for lies above it.
    below = torch.searchsorted(ordered - passed, position)
    items = position + F.pad(passed, (1, 0)).gather(1, below)
    return items.masked_fill(allowed < 1, 0)


def first_of_each(ordered: Tensor) -> Tensor:
    """Where an id stands first in its row of `ordered` [B, S], ascending; never at 0."""
    first = ordered > 0
    first[:, 1:] &= ordered[:, 1:] != ordered[:, :-1]
    return first


def gumbel_top_k(log_weights: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Draw k of M without replacement, each next one in proportion to its weight.

    Args:
        log_weights: float [B, M], not necessarily normalised; -inf is impossible.
        k: at most M are drawn.
        generator: source of the draws, on the device of `log_weights`.

    Returns:
        int64 [B, min(k, M)], positions in ascending order. Impossible ones are among them only
        where a row has fewer than k possible ones.
    """
    uniform = torch.rand(log_weights.shape, generator=generator, device=log_weights.device)
    noise = -(-uniform.clamp_(min=torch.finfo(uniform.dtype).tiny).log()).log()
    count = min(k, log_weights.shape[1])
    return (log_weights + noise).topk(count, dim=1, sorted=False).indices.sort(dim=1).values
