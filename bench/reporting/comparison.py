"""A row against another of its cell, row by row of the test split, and against its teacher."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.examples import Ids
from bench.errors import DataError
from bench.evaluation.metrics import Metric
from bench.evaluation.significance import (
    SeedSpread,
    compare_by_seed,
    compare_by_user,
    holm,
    seed_spread,
)
from bench.records.store import ResultStore
from bench.reporting.rows import BASELINE, Row, Significance

Values = NDArray[np.float64]

CLEAR_LEAD = 1e-4
"""A teacher's lead of a larger p-value is no denominator: what is divided by it could be anything.
About four standard errors."""


class Ranks:
    """The stored ranks of trials and the users they belong to, read at most once."""

    def __init__(self, store: ResultStore) -> None:
        self._store = store
        self._ranks: dict[str, Ids | None] = {}
        self._users: dict[str, Ids | None] = {}

    def of(self, key: str) -> Ids | None:
        """Ranks of a record, int32 [R_test], or None where it has none."""
        if key not in self._ranks:
            try:
                self._ranks[key] = self._store.ranks(key)
            except DataError:
                self._ranks[key] = None
        return self._ranks[key]

    def count(self, key: str) -> int | None:
        ranks = self.of(key)
        return None if ranks is None else len(ranks)

    def mean(self, key: str, metric: Metric) -> float | None:
        """A metric that the record does not hold, from its ranks."""
        ranks = self.of(key)
        return None if ranks is None else float(metric.per_row(ranks).mean())

    def users(self, data_fingerprint: str | None) -> Ids | None:
        if data_fingerprint is None:
            return None
        if data_fingerprint not in self._users:
            self._users[data_fingerprint] = self._store.users(data_fingerprint)
        return self._users[data_fingerprint]


def compared(
    rows: list[Row],
    references: list[Row],
    metrics: Sequence[Metric],
    ranks: Ranks,
    against: str = BASELINE,
) -> list[Row]:
    """The rows of one table with `gain`, `significance` and `gap_closed` filled in.

    Args:
        rows: of one table.
        references: the teachers whose lead over `none` is shared out in `gap_closed`, whatever
            `against` is.
        metrics: what to compare in.
        ranks: of the records behind the rows.
        against: name of the method to compare with, its variant included.
    """
    none_of = baselines(rows)
    others = [_other(row, rows, none_of, against) for row in rows]
    spreads = _spreads(rows, others, metrics, ranks)
    teachers = {row.teacher_fingerprint: row for row in references if row.teacher}
    result = []
    for row, other in zip(rows, others, strict=True):
        update: dict[str, Any] = {"against": against}
        if other is not None:
            update |= _against(row, other, spreads, metrics, ranks)
        none = _none_of(row, none_of)
        if none is not None:
            update["gap_closed"] = _gap_closed(
                row, none, _teacher_of(row, teachers), metrics, ranks
            )
        result.append(row.model_copy(update=update))
    return _corrected(result, metrics)


def _none_of(row: Row, none_of: dict[str, Row]) -> Row | None:
    return None if row.kind == "reference" or row.is_baseline else none_of.get(row.cell)


def _other(row: Row, rows: list[Row], none_of: dict[str, Row], against: str) -> Row | None:
    """The row to compare a row with, if they have a seed in common."""
    none = against == BASELINE
    other = _none_of(row, none_of) if none else opponent(row, rows, against)
    return other if other is not None and _shared_seeds(row, other) else None


def baselines(rows: list[Row]) -> dict[str, Row]:
    """The row of `none` by cell; of several versions of the code today's, and else the newest."""
    in_order = sorted(rows, key=lambda row: (row.current, row.created, len(row.seeds)))
    return {row.cell: row for row in in_order if row.is_baseline and row.seeds}


def reference_gain(reference: Row, none: Row, metric: str) -> float | None:
    """How far a reference is from the mean of `none`, in percent; None where that is not known."""
    if metric not in reference.metrics or metric not in none.metrics:
        return None
    base = none.metrics[metric].mean
    return 100 * (reference.metrics[metric].mean / base - 1) if base else None


def opponent(row: Row, rows: list[Row], against: str) -> Row | None:
    """The row of a method to compare `row` with, if there is one that differs in the method alone.

    It is of the same cell and has a seed of `row`; it has the same teacher, never a control: what a
    control is made of is what it is compared with. A row without a teacher is compared where
    there is no choice of teachers. Of several versions and settings it is today's code first, then
    what overrides least, then the newest.
    """
    there = [
        other
        for other in rows
        if (other.cell, other.method, other.control) == (row.cell, against, None)
        and _shared_seeds(row, other)
        and _one_teacher(row, other)
    ]
    if row.kind == "reference" or len({other.teacher_fingerprint for other in there}) != 1:
        return None
    found = max(there, key=lambda other: (other.current, -len(other.overrides), other.created))
    return None if found is row else found


def _spreads(
    rows: list[Row], others: list[Row | None], metrics: Sequence[Metric], ranks: Ranks
) -> dict[tuple[str, str], SeedSpread | None]:
    """The spread between seeds, by cell and metric, of all rows that are compared."""
    differences: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for row, other in zip(rows, others, strict=True):
        if other is None or len(_shared_seeds(row, other)) < 2:
            continue
        for metric, ours, theirs in _pairs(row, other, metrics, ranks):
            means = (ours - theirs).mean(axis=1)
            differences[row.cell, str(metric)].append(means.tolist())
    return {name: seed_spread(values) for name, values in differences.items()}


def _one_teacher(row: Row, other: Row) -> bool:
    fingerprints = {row.teacher_fingerprint, other.teacher_fingerprint}
    return None in fingerprints or len(fingerprints) == 1


def _teacher_of(row: Row, teachers: dict[str | None, Row]) -> Row | None:
    return None if row.control else teachers.get(row.teacher_fingerprint)


def _pairs(
    row: Row, other: Row, metrics: Sequence[Metric], ranks: Ranks
) -> Iterator[tuple[Metric, Values, Values]]:
    """The metrics of two rows by test row, [S, R], over the S seeds that both ran."""
    seeds = _shared_seeds(row, other)
    for metric in metrics if seeds else ():
        ours, theirs = _per_row(row, seeds, metric, ranks), _per_row(other, seeds, metric, ranks)
        if ours is not None and theirs is not None and ours.shape == theirs.shape:
            yield metric, ours, theirs


def _shared_seeds(row: Row, other: Row) -> list[int]:
    return sorted(set(row.seeds) & set(other.seeds))


def _against(
    row: Row,
    other: Row,
    spreads: dict[tuple[str, str], SeedSpread | None],
    metrics: Sequence[Metric],
    ranks: Ranks,
) -> dict[str, Any]:
    gain: dict[str, float] = {}
    significance: dict[str, Significance] = {}
    users = ranks.users(row.data_fingerprint)
    for metric, ours, theirs in _pairs(row, other, metrics, ranks):
        name, base = str(metric), float(theirs.mean())
        if base > 0:
            gain[name] = 100 * (float(ours.mean()) / base - 1)
        if users is not None and users.shape == ours.shape[1:]:
            found = _significance(ours, theirs, users, spreads.get((row.cell, name)))
            significance |= {} if found is None else {name: found}
    seeds = _shared_seeds(row, other)
    return {"compared_seeds": seeds, "gain": gain, "significance": significance}


def _gap_closed(
    row: Row, none: Row, teacher: Row | None, metrics: Sequence[Metric], ranks: Ranks
) -> dict[str, float]:
    users = ranks.users(row.data_fingerprint)
    stored = ranks.of(teacher.keys[0]) if teacher is not None and teacher.keys else None
    if users is None or stored is None:
        return {}
    closed = {}
    for metric, ours, theirs in _pairs(row, none, metrics, ranks):
        if theirs.shape[1:] == stored.shape == users.shape:
            teaching = np.broadcast_to(metric.per_row(stored), theirs.shape)
            lead = _lead(teaching, theirs, users)
            if lead is not None:
                closed[str(metric)] = 100 * (float(ours.mean()) - float(theirs.mean())) / lead
    return closed


def _lead(teacher: Values, none: Values, users: Ids) -> float | None:
    """How far a teacher is ahead of `none` [S, R]; None where that is not clear."""
    test = compare_by_user(teacher, none, users)
    return test.difference if test and test.difference > 0 and test.p < CLEAR_LEAD else None


def _per_row(row: Row, seeds: list[int], metric: Metric, ranks: Ranks) -> Values | None:
    key_of = dict(zip(row.seeds, row.keys, strict=True))
    stored = [ranks.of(key_of[seed]) for seed in seeds]
    values = [metric.per_row(part) for part in stored if part is not None]
    complete = len(values) == len(seeds) and len({len(part) for part in values}) == 1
    return np.stack(values) if complete else None


def _significance(
    ours: Values, theirs: Values, users: Ids, spread: SeedSpread | None
) -> Significance | None:
    test = compare_by_user(ours, theirs, users, spread)
    of_users = compare_by_user(ours, theirs, users)
    if test is None or of_users is None:
        return None
    by_seed = compare_by_seed(ours.mean(axis=1), theirs.mean(axis=1))
    return Significance(
        difference=test.difference,
        low=test.low,
        high=test.high,
        p=test.p,
        p_holm=test.p,
        p_users=of_users.p,
        p_seeds=by_seed.p if by_seed else None,
        users=len(np.unique(users)),
        knows_seeds=spread is not None,
    )


def _corrected(rows: list[Row], metrics: Sequence[Metric]) -> list[Row]:
    """The rows with `p_holm`.

    The methods of a cell are a family, their controls another, and what newer code has replaced a
    third: what is run beside does not change what is said of a method.
    """
    tests = [dict(row.significance) for row in rows]
    families: dict[tuple[str, bool, bool], list[dict[str, Significance]]] = defaultdict(list)
    for row, test in zip(rows, tests, strict=True):
        families[row.cell, row.control is None, row.current].append(test)
    for family, name in itertools.product(families.values(), map(str, metrics)):
        corrected = holm([test[name].p if name in test else None for test in family])
        for test, p in zip(family, corrected, strict=True):
            if p is not None:
                test[name] = test[name].model_copy(update={"p_holm": p})
    return [
        row.model_copy(update={"significance": test}) for row, test in zip(rows, tests, strict=True)
    ]
