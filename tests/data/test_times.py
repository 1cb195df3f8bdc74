"""Times become whole numbers of the same order, and their unit is known."""

from __future__ import annotations

import numpy as np

from bench.data.prepare.times import MICRO, whole_times


def test_whole_times_are_as_they_are() -> None:
    for numbers in (np.array([3, 2**62 + 1]), np.array([3.0, -2.0, 2.0**60])):
        whole, scale = whole_times(numbers)
        assert scale == 1 and whole.dtype == np.int64
        assert whole.tolist() == [int(number) for number in numbers.tolist()]


def test_one_fraction_makes_all_millionths() -> None:
    whole, scale = whole_times(np.array([3.0, 0.25, 1400030000.000001]))
    assert scale == MICRO
    assert whole.tolist() == [3_000_000, 250_000, 1400030000_000001]
