"""What every leaderboard is read against: the ranking by popularity, the same for every row."""

from __future__ import annotations

from typing import Literal

import numpy as np

from bench.data.examples import Ids, PreparedData


def popularity_ranks(data: PreparedData, split: Literal["test", "valid"] = "test") -> Ids:
    """Rank of each row's target when items are ordered by how often they are training targets.

    All items tied with the target count against it, and padding is never ranked: a target that
    was never trained on ranks last.

    Returns:
        int32 [R], 1..N.
    """
    counts = data.target_counts()[1:]
    ascending = np.sort(counts)
    target = getattr(data, split).target
    below = np.searchsorted(ascending, counts[target - 1], side="left")
    return (data.n_items - below).astype(np.int32)
