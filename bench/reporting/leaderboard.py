"""Records to leaderboard rows: group by everything but the seed, average, compare with `none`.

Rows are put together only if nothing but the seed differs, so records of an older code, teacher
or data never blend into newer ones, and are compared with `none`, or another method, of the same
version of the suite. What is of another version carries a tag, and so do rows that would otherwise
read the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from bench import plan
from bench.errors import ConfigError, UnknownNameError
from bench.evaluation.metrics import Metric, metric_names, parse_metric
from bench.plan import Reference, Trial, digest
from bench.registry import METHODS, MethodEntry
from bench.reporting.comparison import Ranks, baselines, compared
from bench.reporting.cost import (
    epoch_seconds,
    machine_of,
    on_one_machine,
    timed,
    train_seconds,
)
from bench.reporting.rows import BASELINE, Failure, Row, Segment, Spread
from bench.results.record import Record
from bench.results.store import ResultStore

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
    for identity, group in _groups(records.values()).items():
        row = _row(identity, group, metrics or ALL_METRICS, ranks)
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


def _groups(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by their identity without the seed, ordered by seed."""
    by_seed: dict[str, dict[int, Record]] = defaultdict(dict)
    for record in sorted(records, key=lambda record: record.created):
        by_seed[_identity(record)][record.trial.seed if record.trial else 0] = record
    return {
        identity: [group[seed] for seed in sorted(group)] for identity, group in by_seed.items()
    }


def _identity(record: Record) -> str:
    subject = record.subject
    content = subject.model_dump(mode="json", exclude={"seed", "overrides"})
    return digest({"results_version": _version(record), **content})


def _version(record: Record) -> int | None:
    """RESULTS_VERSION of the suite that wrote the record; None for some older one.

    The key of a record tells as well: an older suite gave the same content another key.
    """
    today = record.subject.key == record.key
    return plan.RESULTS_VERSION if today else record.results_version


def _row(identity: str, group: list[Record], metrics: Sequence[Metric], ranks: Ranks) -> Row:
    done = [record for record in group if record.is_done]
    # What one run overrode may be what another finds configured: the row takes the plainer name.
    first = min(
        done or group, key=lambda record: len(record.trial.overrides) if record.trial else 0
    )
    measured = on_one_machine(done)
    return Row(
        **_coordinates(first),
        tag=identity[:6],
        seeds=[record.trial.seed for record in done if record.trial],
        metrics=_metrics(done, metrics, ranks),
        segments=_segments(done, metrics),
        train_seconds=_spread(map(train_seconds, measured)),
        epoch_seconds=_spread(map(epoch_seconds, measured)),
        epochs=_spread([r.epochs for r in done]),
        parameters=first.parameters,
        latency=_means([r.latency for r in measured]),
        machine=machine_of(measured[0]) if measured else None,
        test_rows=ranks.count(first.key),
        failures=[
            Failure(
                key=record.key,
                seed=record.trial.seed if record.trial else None,
                status=record.status,
                error=record.error,
            )
            for record in group
            if not record.is_done
        ],
        current=_is_current(first),
        outdated=_version(first) != plan.RESULTS_VERSION,
        created=max(record.created for record in group),
        keys=[record.key for record in done],
    )


def _is_current(record: Record) -> bool:
    subject = record.subject
    if _version(record) != plan.RESULTS_VERSION:
        return False
    return not isinstance(subject, Trial) or _code_today(subject) in (None, subject.method_code)


def _code_today(trial: Trial) -> str | None:
    """Digest of the method's code; None where it cannot be told, as of a plug-in."""
    try:
        return _code_digest(METHODS.get(trial.method))
    except ConfigError:
        return None


@lru_cache
def _code_digest(entry: MethodEntry) -> str:
    return entry.code_digest


def _coordinates(record: Record) -> dict[str, Any]:
    subject = record.subject
    shared = {
        "dataset": subject.dataset,
        "protocol": subject.protocol,
        "data_fingerprint": subject.data_fingerprint,
        "teacher_fingerprint": subject.teacher_fingerprint,
        "kind": record.kind,
    }
    if isinstance(subject, Trial):
        return shared | _of_trial(subject, _version(record))
    return shared | _of_reference(subject)


def _of_reference(reference: Reference) -> dict[str, Any]:
    method, _, teacher = reference.name.partition(":")
    return {"selection": "validation", "method": method, "teacher": teacher or None, "cell": ""}


def _of_trial(trial: Trial, version: int | None) -> dict[str, Any]:
    config, training = trial.student_config.model_dump(), trial.training.model_dump()
    return {
        "selection": trial.training.selection,
        "student": trial.student,
        "objective": trial.training.objective,
        "method": trial.method_name,
        "variant": trial.variant,
        "teacher": trial.teacher_label,
        "control": trial.control,
        "overrides": trial.overrides,
        "cell": digest([version, trial.student, config, training]),
    }


def _metrics(done: list[Record], metrics: Sequence[Metric], ranks: Ranks) -> dict[str, Spread]:
    result = {}
    for metric in metrics:
        name = str(metric)
        values = []
        for record in done:
            stored = record.metrics.get("test", {}).get(name)
            values.append(ranks.mean(record.key, metric) if stored is None else stored)
        spread = _spread(values)
        if spread is not None:
            result[name] = spread
    return result


def _segments(done: list[Record], metrics: Sequence[Metric]) -> dict[str, Segment]:
    if not done:
        return {}
    result = {}
    for segment, first in done[0].segments.items():
        parts = [record.segments.get(segment, {}) for record in done]
        spreads = {str(m): _spread([part.get(str(m)) for part in parts]) for m in metrics}
        result[segment] = Segment(
            rows=int(first["rows"] or 0),
            metrics={k: v for k, v in spreads.items() if v is not None},
        )
    return result


def _spread(values: Iterable[float | None]) -> Spread | None:
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    if known.size == 0:
        return None
    std = float(known.std(ddof=1)) if known.size > 1 else None
    return Spread(mean=float(known.mean()), std=std)


def _means(parts: list[dict[str, float | None]]) -> dict[str, float]:
    names = dict.fromkeys(name for part in parts for name in part)
    spreads = {name: _spread([part.get(name) for part in parts]) for name in names}
    return {name: spread.mean for name, spread in spreads.items() if spread is not None}


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
    """The rows, of those that would read the same the newest one alone `current`."""
    newest: dict[tuple[str | None, ...], Row] = {}
    for row in sorted(rows, key=lambda row: (row.current, row.created)):
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
