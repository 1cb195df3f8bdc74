"""Sorting millions of numbers in a fraction of the time that an `argsort` of them takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def stable_order(values: NDArray[np.integer]) -> NDArray[np.int64]:
    """`np.argsort(values, kind="stable")` of whole numbers [M].

    Value and place are sorted as one number where 63 bits hold both.
    """
    count = len(values)
    low, high = (int(values.min()), int(values.max())) if count else (0, 0)
    bits = count.bit_length()
    if (high - low + 1) << bits >= 2**63:
        return np.argsort(values, kind="stable")
    packed = values.astype(np.int64)
    packed -= low
    packed <<= bits
    packed |= np.arange(count)
    packed.sort()
    packed &= (1 << bits) - 1
    return packed
