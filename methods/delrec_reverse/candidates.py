"""Small candidate sets: some given items, filled up with random ones, and losses over a set."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.distillation.lists import contains, first
from bench.distillation.plackett_luce import NO_MASS, log_mass, plackett_luce


def candidates(
    given: Tensor,
    usable: Tensor,
    avoid: Tensor,
    n_items: int,
    size: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """The usable given items in their order, then uniform ones, up to `size` different items.

    Args:
        given: int64 [B, K], no usable item twice in a row.
        usable: bool [B, K].
        avoid: int64 [B, S], items that are not drawn; they may stand among the given ones.
        n_items: N.
        size: m.
        generator: source of the draws, on the device of `given`.

    Returns:
        ids int64 [B, min(m, K + N)] and bool, True where there is an item: everywhere but in a
        catalogue that is too small for m.
    """
    taken = torch.cat([given.masked_fill(~usable, 0), avoid], dim=1)
    # No more than the taken ones can be lost: so many draws fill every row.
    drawn = uniform_items(n_items, len(given), size + taken.shape[1], generator)
    fresh = ~contains(taken, drawn)
    return first(torch.cat([given, drawn], dim=1), torch.cat([usable, fresh], dim=1), size)


def uniform_items(n_items: int, rows: int, count: int, generator: torch.Generator) -> Tensor:
    """min(count, N) different items a row, uniform without replacement: int64 [rows, .], 1..N.

    A row is a stretch of one random order of the catalogue, begun at a random place.
    """
    device = generator.device
    order = torch.randperm(n_items, generator=generator, device=device) + 1
    start = torch.randint(n_items, (rows, 1), generator=generator, device=device)
    return order[(start + torch.arange(min(count, n_items), device=device)) % n_items]


def scores_of(hidden: Tensor, table: Tensor, ids: Tensor) -> Tensor:
    """Logits [B, m] of `ids` [B, m] for hidden [B, d] and a scoring table [N + 1, d]."""
    return torch.einsum("bd,bmd->bm", hidden, F.embedding(ids, table))


def log_softmax_over(scores: Tensor, real: Tensor) -> Tensor:
    """Log-softmax [B, m] over the candidates that are real; 0 at the others."""
    return scores.masked_fill(~real, NO_MASS).log_softmax(dim=1).masked_fill(~real, 0.0)


def ranking_loss(scores: Tensor, real: Tensor, weights: Tensor) -> Tensor:
    r"""Weighted likelihood of drawing a list in its order from the candidates C.

    .. math::
        \sum_{k=1}^{h} w_k \Big[ \log \sum_{j \in C \setminus \{1..k-1\}} e^{s_j} - s_k \Big]

    Args:
        scores: float32 [B, m], logits of the candidates; the first h are the list, best first.
        real: bool [B, m], False where there is no candidate.
        weights: float32 [h].

    Returns:
        float32 [B], the negative log-likelihoods.
    """
    listed = len(weights)
    rest = log_mass(scores[:, listed:], real[:, listed:])
    return plackett_luce(scores[:, :listed], real[:, :listed], rest, weights)
