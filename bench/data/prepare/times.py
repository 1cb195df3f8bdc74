"""Times as whole numbers, which sort and compare exactly, and their unit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MICRO = 10**6
"""Parts of a unit in which times with fractions, and dates, are counted."""


def whole_times(numbers: NDArray[Any]) -> tuple[NDArray[np.int64], int]:
    """Integers of the same order, and how many of them are one of the numbers' unit.

    Args:
        numbers: float or integer [M].

    Returns:
        int64 [M] and 1 where all are whole, else millionths and `MICRO`.
    """
    if (numbers == np.round(numbers)).all():
        return numbers.astype(np.int64), 1
    return np.round(numbers * MICRO).astype(np.int64), MICRO
