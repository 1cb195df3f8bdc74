"""Sorting millions of numbers in a fraction of the time that an `argsort` of them takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 16


def divisor(values: NDArray[np.int64]) -> int:
    """The greatest common divisor of whole numbers [M], 1 or more: 86,400 of days in seconds."""
    found = 0
    for start in range(0, len(values), _BLOCK):
        found = int(np.gcd.reduce(values[start : start + _BLOCK], initial=found))
        if found == 1:
            break
    return found or 1


def stable_order(values: NDArray[np.integer]) -> NDArray[np.int64]:
    """`np.argsort(values, kind="stable")` of whole numbers [M].

    Value and place are sorted as one number of 64 bits; where these do not hold both, the low bits
    of the values are sorted first and the high ones after them.
    """
    if not len(values):
        return np.empty(0, dtype=np.int64)
    low, high = int(values.min()), int(values.max())
    offset = values.astype(np.uint64)
    offset -= np.uint64(low % 2**64)
    place_bits = (len(values) - 1).bit_length()
    digit_bits = 64 - place_bits
    order = _packed_order(offset, place_bits)
    for shift in range(digit_bits, (high - low).bit_length(), digit_bits):
        order = order[_packed_order((offset >> np.uint64(shift))[order], place_bits)]
    return order


def _packed_order(values: NDArray[np.uint64], place_bits: int) -> NDArray[np.int64]:
    """The stable order of values [M] by those of their bits that leave room for a place."""
    packed = values << np.uint64(place_bits)
    packed |= np.arange(len(values), dtype=np.uint64)
    packed.sort()
    packed &= np.uint64((1 << place_bits) - 1)
    return packed.view(np.int64)
