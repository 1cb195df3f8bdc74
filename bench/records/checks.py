"""What is read of a record is checked against what the record says it is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bench import plan
from bench.data.examples import Ids
from bench.errors import ConfigError, DataError
from bench.evaluation.metrics import MASKED, parse_metric
from bench.records.archive import Place
from bench.records.arrays import MASKED_RANKS, RANKS, array_hash, read_ranks
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
    if record.results_version == plan.RESULTS_VERSION and record.subject.key != key:
        raise DataError("its settings are not those that its key stands for")
    if not record.is_done:
        return
    for name, split in _OF_SPLIT.items():
        place = folder / name
        if name == RANKS or name in record.arrays or place.exists():
            ranks = read_ranks(place)
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
    known = {name: gains for name in metrics if (gains := _gains(name)) is not None}
    deepest = max((len(gains) for gains in known.values()), default=0)
    counts = np.bincount(ranks[ranks < deepest], minlength=deepest)
    return [
        name
        for name, gains in known.items()
        if not abs(float(gains @ counts[: len(gains)]) / len(ranks) - metrics[name]) < _EXACT
    ]


@lru_cache
def _gains(name: str) -> NDArray[np.float64] | None:
    """What a target adds to a metric `family@K` by its rank 0..K; None for another metric."""
    try:
        metric = parse_metric(name)
    except ConfigError:
        return None
    return np.concatenate([[0.0], metric.per_row(np.arange(1, metric.cutoff + 1))])
