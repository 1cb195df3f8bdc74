"""InfoNCE against the other targets of a batch (LEARN, Jia et al., AAAI 2025)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.distillation import Batch
from bench.distillation.lists import contains


def in_batch_loss(queries: Tensor, keys: Tensor, batch: Batch) -> Tensor:
    """Softmax cross entropy of every row's own key among the keys of the batch, mean over rows.

    Args:
        queries: float32 [B, d], already scaled.
        keys: float32 [B, d], key b belongs to the target of row b.
        batch: the B rows.

    Returns:
        Scalar; 0 where no row has a negative.
    """
    known = ~candidates(batch.target, batch.history)
    logits = (queries @ keys.T).masked_fill(known, -torch.inf)
    return F.cross_entropy(logits, torch.arange(len(keys), device=keys.device))


def candidates(target: Tensor, history: Tensor) -> Tensor:
    """Whether the target of row j is a candidate of row r, bool [B, B].

    Row r has its own target at j = r; another item counts at the first row that has it, unless it
    is in the history of r.
    """
    same = target.unsqueeze(1) == target
    first = ~same.tril(diagonal=-1).any(dim=1)
    other = first & ~same & ~contains(history, target.expand(len(target), -1))
    own = torch.eye(len(target), dtype=torch.bool, device=target.device)
    return other | own


def views_loss(left: Tensor, right: Tensor, temperature: float) -> Tensor:
    """InfoNCE of two views of every row against all other views of the batch (SimCLR).

    Source: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations",
    ICML 2020, on dot products.

    Args:
        left: float32 [B, d].
        right: float32 [B, d], the other views of the same rows.
        temperature: divides the dot products.

    Returns:
        Scalar, mean over the 2 B views; 0 where there is one row.
    """
    views = torch.cat([left, right])
    count = len(left)
    places = torch.arange(2 * count, device=views.device)
    scores = views @ views.T / temperature
    scores = scores.masked_fill(places.unsqueeze(1) == places, -torch.inf)
    return F.cross_entropy(scores, places.roll(count))
