"""What follows what in training."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.distillation import Batch, TrainingRows


def last_items(rows: TrainingRows | Batch) -> Tensor:
    """The last item of every history, int64 [R]."""
    return rows.history.gather(1, rows.length.unsqueeze(1) - 1).squeeze(1)


def followers(rows: TrainingRows, n_items: int, most: int) -> tuple[Tensor, Tensor]:
    """The most frequent targets of rows that end with an item, most frequent first; ties by id.

    Args:
        rows: the training rows.
        n_items: N.
        most: followers kept of an item.

    Returns:
        ids int64 [N + 1, M] and counts float32 [N + 1, M], M at most `most`; both 0 where there are
        no more. Every last item of a training row has a follower: the row's target.
    """
    size = n_items + 1
    pairs, counts = (last_items(rows) * size + rows.target).unique(return_counts=True)
    order = counts.argsort(descending=True, stable=True)
    order = order[(pairs // size)[order].argsort(stable=True)]
    item, follower, counts = (pairs // size)[order], (pairs % size)[order], counts[order]
    place = torch.arange(len(item), device=item.device) - torch.searchsorted(item, item)
    kept = place < most
    where = item[kept], place[kept]
    ids = item.new_zeros(size, min(most, int(place.max()) + 1))
    ids[where] = follower[kept]
    return ids, torch.zeros_like(ids, dtype=torch.float32).index_put(where, counts[kept].float())
