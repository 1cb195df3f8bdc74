"""InfoNCE against the other targets of a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.base import Batch
from methods.lists import contains


def in_batch_loss(queries: Tensor, keys: Tensor, batch: Batch) -> Tensor:
    """Softmax cross entropy of every row's own key among the keys of the batch, mean over rows.

    A key whose item is the row's own target, or stands in its history, is no negative. Several
    rows with one target hold its key several times, which weighs negatives by their frequency.

    Args:
        queries: float32 [B, d], already scaled.
        keys: float32 [B, d], key b belongs to the target of row b.
        batch: the B rows.

    Returns:
        Scalar; 0 where no row has a negative.
    """
    targets = batch.target.unsqueeze(0).expand(len(keys), -1)
    own = torch.eye(len(keys), dtype=torch.bool, device=keys.device)
    known = contains(torch.cat([batch.history, batch.target.unsqueeze(1)], dim=1), targets)
    logits = (queries @ keys.T).masked_fill(known & ~own, -torch.inf)
    return F.cross_entropy(logits, torch.arange(len(keys), device=keys.device))
