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
