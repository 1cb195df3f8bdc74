"""Records to a leaderboard: rows, compared with `none` or another method, sorted and told apart.

Rows are compared with those of the same version of the suite alone. What is of another version
carries a tag, and so do rows that would otherwise read the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from bench.errors import UnknownNameError
from bench.evaluation.metrics import Metric, metric_names, parse_metric
from bench.records.record import Record
from bench.records.store import ResultStore
from bench.reporting.averages import averaged
from bench.reporting.comparison import Ranks, baselines, compared
from bench.reporting.cost import timed
from bench.reporting.rows import BASELINE, Row

ALL_METRICS = [parse_metric(name) for name in metric_names()]
SORTED_BY = parse_metric("ndcg@20")


def leaderboard(
    store: ResultStore,
    metrics: Sequence[Metric] | None = None,
    *,
    keys: Collection[str] | None = None,
    datasets: Collection[str] | None = None,
    methods: Collection[str] | None = None,
    against: str = BASELINE,
) -> list[Row]:
    """Every comparable group of records as a row.

    The filters choose what is shown, never what it is compared with: a row has the same numbers,
    corrections included, in every selection of rows.

    Args:
        store: where the records are.
        metrics: what to compute; by default HR, NDCG and MRR at 1, 5, 10 and 20. Rows are sorted
            by the first.
        keys: show the rows these records belong to, with their references, their `none` and the
            method they are compared with.
        datasets: show these only.
        methods: show these methods only (with any variant), beside the references.
        against: name of the method to compare with, its variant included.

    Returns:
        Table by table; within one the references, then per cell `none` and the methods, best first.

    Raises:
        ConfigError: there is no record of a dataset or method that is asked for.
    """
    by = metrics[0] if metrics else SORTED_BY
    ranks = Ranks(store)
    records = {record.key: record for record in store.records()}
    _refuse_unknown(records.values(), datasets or (), methods or (), against)
    tables: dict[tuple[str, str, str, str], list[Row]] = defaultdict(list)
    for row in averaged(records.values(), metrics or ALL_METRICS, ranks):
        if not datasets or row.dataset in datasets:
            tables[row.table].append(row)
    shown: list[Row] = []
    for table in sorted(tables, key=lambda t: (t[0], t[1], t[3] != "validation", t[2])):
        rows = _newest(tables[table])
        if keys is not None and not any(_holds(row, keys) for row in rows):
            continue
        honest = tables.get((*table[:3], "validation"), [])
        references = [row for row in honest if row.kind == "reference"]
        rows = compared(rows, references, metrics or ALL_METRICS, ranks, against)
        rows = timed(rows, baselines(rows), records)
        rows = _tagged(_sorted(rows, str(by)))
        shown += [row for row in rows if _is_shown(row, rows, keys, methods)]
    return shown


def _refuse_unknown(
    records: Collection[Record],
    datasets: Collection[str],
    methods: Collection[str],
    against: str,
) -> None:
    """Refuse to look for what no record is of; of no records at all, whatever is asked is right."""
    done = [r.trial for r in records if r.trial and r.is_done and not r.trial.control]
    known = {
        "dataset": (datasets, {record.subject.dataset for record in records}),
        "method": (
            methods,
            {name for r in records if r.trial for name in (r.trial.method, r.trial.method_name)},
        ),
        "method to compare with": ([against], {BASELINE, *(t.method_name for t in done)}),
    }
    for kind, (asked, there) in known.items():
        for name in asked:
            if records and name not in there:
                raise UnknownNameError(kind, name, there, "these records")


def _sorted(rows: list[Row], by: str) -> list[Row]:
    def order(row: Row) -> tuple[Any, ...]:
        score = row.metrics[by].mean if by in row.metrics else -1.0
        if row.kind == "reference":
            return (0, row.teacher is not None, -score, row.teacher or row.method)
        cell = (row.student, row.objective, row.cell)
        return (1, *cell, not row.is_baseline, -score, row.method_label, row.teacher or "")

    return sorted(rows, key=order)


def _reads_as(row: Row) -> tuple[str | None, ...]:
    """What a row would be told by without its tag."""
    return (
        row.student,
        row.objective,
        row.model_copy(update={"tag": None}).method_label,
        row.teacher,
    )


def _newest(rows: list[Row]) -> list[Row]:
    """The rows, of those that would read the same the newest one with a result alone `current`."""
    newest: dict[tuple[str | None, ...], Row] = {}
    for row in sorted(rows, key=lambda row: (row.current, bool(row.seeds), row.created)):
        newest[_reads_as(row)] = row
    return [
        row.model_copy(update={"current": row.current and newest[_reads_as(row)] is row})
        for row in rows
    ]


def _tagged(rows: list[Row]) -> list[Row]:
    """The rows with their tags taken off: those of today's suite that read differently without."""
    times = Counter(map(_reads_as, rows))
    return [
        row.model_copy(update={"tag": None})
        if not row.outdated and times[_reads_as(row)] == 1
        else row
        for row in rows
    ]


def _is_shown(
    row: Row, rows: list[Row], keys: Collection[str] | None, methods: Collection[str] | None
) -> bool:
    if row.kind == "reference":
        return True
    if methods and row.method not in methods and row.method.partition(":")[0] not in methods:
        return False
    if keys is None or _holds(row, keys):
        return True
    if row.method not in (BASELINE, row.against) or row.control:
        return False
    return any(other.cell == row.cell for other in rows if _holds(other, keys))


def _holds(row: Row, keys: Collection[str]) -> bool:
    return any(key in keys for key in row.keys + [failure.key for failure in row.failures])
