"""Times become whole numbers of the same order, exactly, and their unit is known."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.sources.columns import Cells
from bench.data.sources.faults import Faults
from bench.data.sources.times import Times
from bench.errors import DataError


def scaled(*chunks: list) -> tuple[list[int], int]:
    times, start = Times(), 1
    for chunk in chunks:
        faults = Faults("t.csv")
        good = times.read(Cells("time", range(start, start + len(chunk)), chunk), faults)
        faults.check(len(chunk))
        times.keep(good)
        start += len(chunk)
    whole, scale = times.scaled("t.csv")
    assert whole.dtype == np.int64
    return whole.tolist(), scale


def test_whole_times_are_as_they_are():
    assert scaled(["3", str(2**62 + 1)]) == ([3, 2**62 + 1], 1)
    assert scaled(["3.0", "-2.00", "1e3", "1152921504606846976.0"]) == ([3, -2, 1000, 2**60], 1)
    assert scaled([3, 2.0], [7]) == ([3, 2, 7], 1)


def test_one_fraction_makes_all_millionths():
    expected = [3_000_000, 250_000, 1400030000_000001, -500_000]
    assert scaled(["3.0"], ["0.25", "1400030000.000001", "-.5"]) == (expected, 10**6)


def test_what_is_finer_or_larger_than_that_stays_exact():
    micro = ["1700000000123456.25", "1700000000124456"]
    assert scaled(micro) == ([1700000000123456_250, 1700000000124456_000], 10**3)
    dates = ["2020-01-01T00:00:00.000000001", "2020-01-01T00:00:00.000000002Z"]
    whole, scale = scaled(dates)
    assert scale == 10**9 and whole[1] - whole[0] == 1
    finer = [f"2020-01-01T00:00:00.{digits}" for digits in ("0000000000010", "000000000002")]
    with pytest.raises(DataError, match="cannot be told apart in the 64 bits"):
        scaled(finer)
    with pytest.raises(DataError, match=r"row 1: .* is not an ISO 8601 time"):
        scaled([f"2020-01-01T00:00:00.{'0' * 18}1"])
    assert scaled(["2020-01-01"]) == ([1577836800 * 10**6], 10**6)


def test_what_64_bits_cannot_hold_is_refused_by_its_row():
    for value in ("9223372036854775808", "-1e30", "0." + "1" * 19):
        with pytest.raises(
            DataError, match=r"column 'time', row 2: .* is not a number that 64 bits hold"
        ):
            scaled(["1.5", value])
    with pytest.raises(DataError, match=r"the times 5\.0+1 and 5\.0+2 cannot be told apart"):
        scaled(["900000000000000000", "5.000000000000000001", "5.000000000000000002"])


@pytest.mark.parametrize("value", ["x", "", "nan", "inf", "True", "0x", None, [1], "--1"])
def test_what_is_no_time_is_refused_by_its_row(value):
    with pytest.raises(DataError, match=r"row 3: .* is not a"):
        scaled(["1", "2"], [value, "3"])


def test_dates_and_numbers_do_not_mix():
    for chunks in (
        (["1", "2"], ["2020-01-01"]),
        (["2020-01-01"], ["1"]),
        (["1", "2020-01-01", "2"],),
    ):
        with pytest.raises(DataError, match="not a time like those of the other rows"):
            scaled(*chunks)


@given(st.lists(st.decimals(-(10**9), 10**9, places=7), min_size=1, max_size=20))
def test_the_order_is_that_of_the_numbers_and_the_scale_is_exact(numbers):
    whole, scale = scaled([str(number) for number in numbers])
    assert [Decimal(time) / scale for time in whole] == numbers
