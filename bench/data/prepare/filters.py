"""Filters of interactions: period, least rating, repeated items, k-core."""

from __future__ import annotations

import calendar
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.config import Filters
from bench.data.prepare.interactions import Interactions
from bench.errors import DataError

Mask = NDArray[np.bool_]


def apply(data: Interactions, filters: Filters) -> Interactions:
    """Leave out interactions; with any filter the catalogue is what is left.

    Period and rating act first, then repetitions are dropped, and at last users and items below
    their core, until none is.

    Raises:
        DataError: a filter of times or ratings that the data lack, one of labelled splits, or
            nothing left.
    """
    if filters == Filters():
        return data
    if data.split is not None:
        raise DataError(f"{data.origin}: has split labels, which filters would contradict")
    keep = np.ones(len(data), dtype=bool)
    if filters.since is not None:
        keep &= _need(data, "time", "since") >= _moment(filters.since, data)
    if filters.until is not None:
        keep &= _need(data, "time", "until") < _moment(filters.until, data)
    if filters.min_rating is not None:
        keep &= _need(data, "rating", "min_rating") >= filters.min_rating
    if filters.repeats in ("first", "last"):
        keep &= _once(data, keep, last=filters.repeats == "last")
    keep = _core(data, keep, filters.user_core or 0, filters.item_core or 0)
    if not keep.any():
        raise DataError(f"{data.origin}: the filters leave no interactions")
    dropped = f"filters dropped {(~keep).sum():,} interactions"
    return replace(data.keep(keep), report=[*data.report, dropped])


def _moment(when: int | str, data: Interactions) -> int:
    """A number in the unit of the source, or a date, as one of `data.time`.

    Times of today are ten digits in seconds since 1970, thirteen in milliseconds, and so on.

    Raises:
        DataError: a date, where the latest time is none of these.
    """
    if isinstance(when, int):
        return when * data.time_scale
    seconds = calendar.timegm(date.fromisoformat(when).timetuple())
    latest = 0 if data.time is None or not len(data) else int(data.time.max()) // data.time_scale
    for unit in (1, 10**3, 10**6, 10**9):
        if 10**8 <= latest // unit < 10**10:
            return seconds * unit * data.time_scale
    raise DataError(
        f"{data.origin}: {when} cannot be found among its times, whose latest is {latest}: that is "
        "no number of seconds, milli-, micro- or nanoseconds since 1970. Give a number of theirs"
    )


def _need(data: Interactions, column: str, filter_name: str) -> NDArray[Any]:
    values: NDArray[Any] | None = getattr(data, column)
    if values is None:
        raise DataError(f"{data.origin}: has no {column}s for filters.{filter_name}")
    return values


def _once(data: Interactions, keep: Mask, *, last: bool) -> Mask:
    """The first or last interaction of each user with each item, of those that are kept."""
    kept = np.flatnonzero(keep)[:: -1 if last else 1]
    pair = data.user[kept].astype(np.int64) * len(data.item_tokens) + data.item[kept]
    _, first = np.unique(pair, return_index=True)
    once = np.zeros(len(data), dtype=bool)
    once[kept[first]] = True
    return once


def _core(data: Interactions, keep: Mask, user_core: int, item_core: int) -> Mask:
    """The largest part of `keep` in which every user and item has enough interactions."""
    while True:
        enough = keep.copy()
        for ids, least in ((data.user, user_core), (data.item, item_core)):
            enough &= np.bincount(ids[keep], minlength=ids.max() + 1)[ids] >= least
        if (enough == keep).all():
            return keep
        keep = enough
