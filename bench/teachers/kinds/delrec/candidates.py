"""Sets of candidates: what a language model that ranks few items at a time is asked about."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.data.examples import Ids


def with_random(chosen: Sequence[int], size: int, n_items: int, random: np.random.Generator) -> Ids:
    """The chosen items among random ones, in random order.

    Args:
        chosen: ids 1..N, none twice.
        size: m >= the number of chosen items; N where the catalogue is smaller.
        n_items: N.
        random: draws the others, uniformly, and the order.

    Returns:
        int32 [m], none twice.
    """
    size = min(size, n_items)
    drawn = random.choice(n_items, size, replace=False) + 1
    others = drawn[~np.isin(drawn, chosen)][: size - len(chosen)]
    return random.permutation(np.concatenate([chosen, others]).astype(np.int32))


def dealt(count: int, size: int) -> list[NDArray[np.int64]]:
    """Places 0..count-1 of a ranked list dealt into groups of at most `size`, like cards.

    Every group reaches from the head of the list to its end, so that what a model says of the
    items of one group can be compared with what it says of those of another.

    Returns:
        Increasing places, each in one group; sizes differ by at most one.
    """
    groups = -(-count // size)
    return [np.arange(first, count, groups) for first in range(groups)]
