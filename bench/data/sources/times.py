"""Times and positions as whole numbers, which sort and compare exactly, and their unit."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_FLOOR, Context, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.data.sources.columns import Cells, Column, Mask
from bench.data.sources.faults import Faults
from bench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

MICRO = 6
"""Digits behind the point that are kept at least where there are any, and always of ISO dates."""

FINEST = 18
"""Digits behind the point that a time may have."""

LARGEST = int(np.iinfo(np.int64).max)
ISO = "ISO8601"

Int64 = NDArray[np.int64]
Parts = tuple[Int64, Int64]
"""Whole parts and fractions in 10^-18, [m] each."""

_EXACT_DIGITS = 18
"""Digits of which 64 bits hold any number."""

_EXACT = Context(prec=400)


class Times(Column):
    """The times, or positions, of a table: numbers of any unit and epoch, or dates.

    Dates are counted in seconds since 1970; without a zone they are UTC.

    Args:
        form: strptime's form of dates; None: numbers or ISO 8601.
    """

    def __init__(self, form: str | None = None) -> None:
        super().__init__()
        self._form = form
        self._dates: bool | None = None

    def read(self, cells: Cells, faults: Faults | None) -> Mask:
        """Which values are times; exact ones, and of the kind that the other rows have."""
        import pandas as pd

        good: Mask
        if self._form is None and not self._dates:
            whole = _whole_numbers(cells.values)
            if whole is not None:
                return self._whole(whole)
        values = cells.series()
        if self._form is not None:
            self.pending, good = _dates(values, self._form)
            return self._noted(cells, good, f"a time of the form {self._form}", faults)
        numbers = pd.to_numeric(values, errors="coerce")
        if numbers.dtype == np.int64 and not self._dates:
            return self._whole(numbers.to_numpy())
        dates = values.astype("str").str.contains(r"\d[-/T:]\d", regex=True).to_numpy(bool)
        if self._dates is None:  # of two kinds the rarer one is the mistake
            self._dates = bool(dates.mean() >= 1 / 2)
        kind = "an ISO 8601 time"
        if not self._dates:
            kind = f"a number that 64 bits hold exactly, nor {kind}"
        mixed = dates != self._dates
        self._noted(cells, ~mixed, "a time like those of the other rows", faults)
        if self._dates:
            self.pending, good = _dates(values, ISO)
        else:
            self.pending, good = _decimals(values, numbers.to_numpy(np.float64))
        return self._noted(cells, good | mixed, kind, faults) & ~mixed

    def _whole(self, numbers: Int64) -> Mask:
        self._dates = False
        self.pending = numbers, np.zeros(len(numbers), dtype=np.int64)
        return np.ones(len(numbers), dtype=bool)

    def _noted(self, cells: Cells, good: Mask, kind: str, faults: Faults | None) -> Mask:
        if faults is not None:
            self.note(cells, ~good, kind, faults)
        return good

    def scaled(self, where: str) -> tuple[Int64, int]:
        """All times as int64 [M], and how many of these are one unit of the table's own.

        Raises:
            DataError: in no unit do 64 bits hold the largest and tell the closest apart.
        """
        whole, fraction = self.arrays()
        needed = next(d for d in range(FINEST + 1) if not (fraction % 10 ** (FINEST - d)).any())
        digits = max(needed, MICRO) if needed or self._dates else 0
        most = int(np.abs(whole).max(initial=0)) + 1
        while digits and most * 10**digits > LARGEST:
            digits -= 1
        times = whole * 10**digits + fraction // 10 ** (FINEST - digits)
        if digits < needed:
            _reject_merged(whole, fraction, times, where)
        return times, 10**digits


def _whole_numbers(values: Sequence[Any]) -> Int64 | None:
    """Numbers that are nothing but digits, or of JSON; None where one is not, or is too large."""
    try:
        if {*map(type, values)} == {int}:
            return np.fromiter(values, dtype=np.int64, count=len(values))
        digits = "".join(values)
        if not (digits.isdecimal() and digits.isascii()):
            return None
        if len(widths := {*map(len, values)}) == 1 and (width := widths.pop()) <= _EXACT_DIGITS:
            table = np.frombuffer(digits.encode(), dtype=np.uint8).reshape(-1, width)
            return (table - np.uint8(ord("0"))) @ 10 ** np.arange(width)[::-1]
        return np.array(list(map(int, values)), dtype=np.int64)
    except (TypeError, ValueError, OverflowError):  # an empty one, or one beyond 64 bits
        return None


def _reject_merged(whole: Int64, fraction: Int64, times: Int64, where: str) -> None:
    order = np.lexsort([fraction, whole])
    whole, fraction, times = whole[order], fraction[order], times[order]
    merged = (times[1:] == times[:-1]) & (fraction[1:] != fraction[:-1])
    if merged.any():
        at = int(np.flatnonzero(merged)[0])
        one, other = (f"{whole[i]}.{fraction[i]:018}".rstrip("0") for i in (at, at + 1))
        raise DataError(
            f"{where}: the times {one} and {other} cannot be told apart in the 64 bits that the "
            f"largest, {whole[-1]}, needs: subtract a common start, or round them"
        )


def _dates(values: pd.Series, form: str) -> tuple[Parts, Mask]:
    """Seconds since 1970 of dates, and which values are dates at all."""
    import pandas as pd

    times = pd.to_datetime(values, utc=True, errors="coerce", format=form)
    good = times.notna().to_numpy(copy=True)
    times = times.fillna(pd.Timestamp(0, tz="UTC"))
    seconds = times.dt.floor("s").dt.as_unit("s").astype("int64").to_numpy()
    nano = times.dt.microsecond.to_numpy(np.int64) * 10**3 + times.dt.nanosecond.to_numpy(np.int64)
    fraction = nano * 10 ** (FINEST - 9)
    finer = values.astype("str").str.extract(r"[.,]\d{9}(\d+)", expand=False).fillna("")
    for at in np.flatnonzero(finer != ""):  # which pandas cuts off
        digits = finer.iloc[at].rstrip("0")
        good[at] &= len(digits) <= FINEST - 9
        fraction[at] += int(digits[: FINEST - 9].ljust(FINEST - 9, "0"))
    return (seconds, fraction), good


def _decimals(values: pd.Series, numbers: NDArray[np.float64]) -> tuple[Parts, Mask]:
    """Numbers exactly as they are written, and which values can be had so."""
    good = np.isfinite(numbers)
    # A float is the number that is written if that has up to 15 digits.
    short = values.astype("str").str.len().to_numpy() <= 15
    easy = ~good | (short & (np.floor(numbers) == numbers) & (abs(numbers) < 2**53))
    whole = np.where(easy & good, numbers, 0).astype(np.int64)
    fraction = np.zeros(len(values), dtype=np.int64)
    for at in np.flatnonzero(~easy):
        try:
            number = Decimal(str(values.iloc[at]).strip())
        except InvalidOperation:  # such as True, which pandas takes for 1
            good[at] = False
            continue
        floor = number.to_integral_value(ROUND_FLOOR, _EXACT)
        rest = _EXACT.subtract(number, floor).scaleb(FINEST, _EXACT)
        good[at] = abs(floor) < LARGEST and rest == int(rest)
        if good[at]:
            whole[at], fraction[at] = int(floor), int(rest)
    return (whole, fraction), good
