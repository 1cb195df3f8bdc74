"""Ranks of targets to HR, NDCG and MRR: everything here is a function of the ranks alone.

A row has one relevant item, so with rank r (1 is best, over the full catalogue)

    HR@K = [r <= K]     NDCG@K = [r <= K] / log2(r + 1)     MRR@K = [r <= K] / r

and the metric of a split is the mean over its rows. Larger is better for all three.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.data.config import Seen
from bench.errors import ConfigError, UnknownNameError
from bench.limits import whole_number

CUTOFFS = (1, 5, 10, 20)

MASKED = "masked"
"""Marks the metrics of a split whose users' earlier items are left out: `test-masked`."""

_GAIN: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "hr": np.ones_like,
    "ndcg": lambda rank: 1.0 / np.log2(rank + 1.0),
    "mrr": lambda rank: 1.0 / rank,
}


@dataclass(frozen=True)
class TargetRanks:
    """Ranks of the targets of R examples, int32 [R] each, 1-based, ties against the target.

    Attributes:
        ranked: among all N items.
        masked: among the target and the items that the user did not have before; None where what
            users had is not known.
    """

    ranked: NDArray[np.int32]
    masked: NDArray[np.int32] | None = None

    def under(self, seen: Seen) -> NDArray[np.int32]:
        """Those under a protocol's rule for items that were seen before.

        Raises:
            ConfigError: they are to be left out, and nobody knows which they are.
        """
        if seen == "rank":
            return self.ranked
        if self.masked is None:
            raise ConfigError("protocol.seen=mask: these data do not tell what users had before")
        return self.masked


@dataclass(frozen=True)
class Metric:
    """One metric at one cutoff, such as `ndcg@20`.

    Attributes:
        family: `hr`, `ndcg` or `mrr`.
        cutoff: K >= 1; a target ranked below K scores 0.
    """

    family: str
    cutoff: int

    def __str__(self) -> str:
        return f"{self.family}@{self.cutoff}"

    @property
    def label(self) -> str:
        """The name as tables print it: `NDCG@20`."""
        return str(self).upper()

    def per_row(self, ranks: ArrayLike) -> NDArray[np.float64]:
        """Value of every row.

        Args:
            ranks: [R], the rank of each row's target, 1-based.

        Returns:
            float64 [R], each in 0..1.

        Raises:
            ValueError: a rank is NaN, infinite or below 1, or there is no row.
        """
        rank = checked_ranks(ranks)
        return np.where(rank <= self.cutoff, _GAIN[self.family](rank), 0.0)

    def looked_up(self, ranks: NDArray[np.int32]) -> NDArray[np.float64]:
        """`per_row` of ranks [R] that are known to be 1 at least: several times as fast."""
        if self.cutoff > LARGEST_TABLE:
            return self.per_row(ranks)
        return np.take(by_rank(self), ranks, mode="clip")


LARGEST_CUTOFF = 2**31 - 1
"""The largest rank that a record can hold."""

LARGEST_TABLE = 10_000
"""The largest cutoff whose metrics are tabulated: a name such as ndcg@1000000000 costs nothing."""


@lru_cache
def by_rank(metric: Metric) -> NDArray[np.float64]:
    """What a target adds by its rank, float64 [K + 2]: of the ranks 0 (none has it) to K + 1."""
    return np.concatenate([[0.0], metric.per_row(np.arange(1, metric.cutoff + 2))])


RANKED_PLACES = "ranked_places"
"""Among the settings of a record: K, where its ranks are those of lists that end there."""


CATALOGUE = "items"
"""Among the settings of a reference's record: N, the items that it ranks."""


def held(cutoffs: Iterable[int], places: int | None) -> list[int]:
    """The cutoffs that lists of so many places tell metrics at; None: all."""
    return [cutoff for cutoff in cutoffs if places is None or cutoff <= places]


def parse_metric(name: str) -> Metric:
    """Read `family@K`, in any case.

    Raises:
        ConfigError: not of that form, an unknown family, or K < 1.
    """
    match = re.fullmatch(r"([a-z]+)@([0-9]+)", name.strip().lower())
    if match is None:
        raise ConfigError(
            f"'{name}' is not a metric; write FAMILY@K with FAMILY one of "
            f"{', '.join(sorted(_GAIN))}, such as ndcg@20"
        )
    family, cutoff = match[1], whole_number(match[2], LARGEST_CUTOFF)
    if family not in _GAIN:
        raise UnknownNameError("metric", family, _GAIN, where=name)
    if not cutoff:
        raise ConfigError(f"'{name}': a cutoff is at least 1, at most {LARGEST_CUTOFF:,}")
    return Metric(family, cutoff)


def metric_names(cutoffs: Iterable[int] = CUTOFFS) -> list[str]:
    """Names of every family at every cutoff, in the order of records and tables."""
    return [f"{family}@{cutoff}" for cutoff in cutoffs for family in _GAIN]


def metrics_from_ranks(ranks: ArrayLike, cutoffs: Iterable[int] = CUTOFFS) -> dict[str, float]:
    """Mean HR, NDCG and MRR over the rows of a split.

    Args:
        ranks: [R], R >= 1, the 1-based rank of each row's target over the full catalogue.
        cutoffs: the values of K.

    Returns:
        `{"hr@1": ..., "ndcg@1": ..., "mrr@1": ..., "hr@5": ...}`, each in 0..1.

    Raises:
        ValueError: a rank is NaN, infinite or below 1, or there is no row.
    """
    rank = checked_ranks(ranks)
    return {name: float(parse_metric(name).per_row(rank).mean()) for name in metric_names(cutoffs)}


def split_metrics(
    cutoffs: Iterable[int] = CUTOFFS, /, **ranks: TargetRanks
) -> dict[str, dict[str, float]]:
    """Metrics of splits by name, such as `test`, and `test-masked` without the items seen before.

    Args:
        cutoffs: the values of K.
        ranks: of the targets of each split.
    """
    found, cutoffs = {}, tuple(cutoffs)
    for split, both in ranks.items():
        found[split] = metrics_from_ranks(both.ranked, cutoffs)
        if both.masked is not None:
            found[f"{split}-{MASKED}"] = metrics_from_ranks(both.masked, cutoffs)
    return found


def checked_ranks(ranks: ArrayLike) -> NDArray[np.float64]:
    """The ranks as float64 [R].

    Raises:
        ValueError: not one-dimensional, empty, or with a value that no rank can have. A rank that
            came from a comparison with NaN must never pass as a hit.
    """
    rank = np.asarray(ranks, dtype=np.float64)
    if rank.ndim != 1 or rank.size == 0:
        raise ValueError(f"ranks must be a non-empty vector, not of shape {rank.shape}")
    wrong = ~(np.isfinite(rank) & (rank >= 1))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{int(wrong.sum())} of {rank.size} ranks are not numbers >= 1, "
            f"first at row {row}: {rank[row]}"
        )
    return rank
