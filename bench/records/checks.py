"""What is read of a record is checked against what the record says it is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bench import plan
from bench.data.examples import Ids
from bench.errors import ConfigError, DataError
from bench.evaluation.metrics import LARGEST_TABLE, MASKED, Metric, by_rank, parse_metric
from bench.records.archive import Place
from bench.records.arrays import MASKED_RANKS, RANKS, MissingRanks, array_hash, read_ranks
from bench.records.record import Record

_OF_SPLIT = {RANKS: "test", MASKED_RANKS: f"test-{MASKED}"}
"""The metrics that are a function of the ranks in a file."""

_EXACT = 1e-9
"""Metrics are sums of at most millions of numbers in 0..1, in one order or another."""


def check(record: Record, key: str, folder: Place) -> None:
    """Check a record as it lies in its folder; students are checked when they are loaded.

    Raises:
        DataError: it is not what its key, its hashes or its metrics say.
    """
    if record.key != key:
        raise DataError(f"it is the record of {record.key}")
    if record.results_version == plan.RESULTS_VERSION and record.subject_key != key:
        raise DataError("its settings are not those that its key stands for")
    if not record.is_done:
        return
    for name, split in _OF_SPLIT.items():
        try:
            ranks = read_ranks(folder / name)
        except MissingRanks:
            if name == RANKS or name in record.arrays:
                raise
            continue
        refuse_another(name, array_hash(ranks), record)
        if untrue := untrue_metrics(record.metrics.get(split, {}), ranks):
            raise DataError(f"{name}: its ranks do not give the record's {split} {untrue[0]}")


def refuse_another(name: str, found: str, record: Record) -> None:
    """Reject arrays of a record that have another hash than it says.

    Raises:
        DataError: they have.
    """
    if record.arrays.get(name, found) != found:
        raise DataError(f"{name}: not what the record was written with (SHA-256)")


def untrue_metrics(metrics: Mapping[str, float], ranks: Ids) -> list[str]:
    """The metrics that are not those of the ranks; those of another kind cannot be told."""
    names, gains, larger = _tables(tuple(metrics))
    counts = np.bincount(np.minimum(ranks, gains.shape[1] - 1), minlength=gains.shape[1])
    means = dict(zip(names, (gains @ counts / len(ranks)).tolist(), strict=True))
    means |= {name: float(metric.per_row(ranks).mean()) for name, metric in larger.items()}
    return [name for name, mean in means.items() if not abs(mean - metrics[name]) < _EXACT]


@lru_cache
def _tables(names: tuple[str, ...]) -> tuple[list[str], NDArray[np.float64], dict[str, Metric]]:
    """Metrics by name with their gains by rank, [M, K + 2]; and those that have no such table."""
    known = {name: metric for name in names if (metric := _metric(name)) is not None}
    small = [name for name, metric in known.items() if metric.cutoff <= LARGEST_TABLE]
    deepest = max((known[name].cutoff for name in small), default=0)
    gains = np.zeros((len(small), deepest + 2))
    for row, name in zip(gains, small, strict=True):
        row[: known[name].cutoff + 2] = by_rank(known[name])
    return small, gains, {name: metric for name, metric in known.items() if name not in small}


def _metric(name: str) -> Metric | None:
    try:
        return parse_metric(name)
    except ConfigError:
        return None
