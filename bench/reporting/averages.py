"""Records to rows: those that differ in nothing but the seed are one row, their mean.

Rows are put together only if nothing but the seed differs, so records of an older code, teacher
or data never blend into newer ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from bench import plan
from bench.errors import ConfigError
from bench.evaluation.metrics import Metric
from bench.plan import Reference, Trial, digest
from bench.records.record import Record
from bench.registry import METHODS, MethodEntry
from bench.reporting.comparison import Ranks
from bench.reporting.cost import epoch_seconds, machine_of, on_one_machine, train_seconds
from bench.reporting.rows import Failure, Row, Segment, Spread


def averaged(records: Iterable[Record], metrics: Sequence[Metric], ranks: Ranks) -> list[Row]:
    """Every group of records that differ in nothing but the seed, as a row.

    Args:
        records: in any order; of two with the same content and seed the newer one counts.
        metrics: what to average, as the records hold it or from the ranks.
        ranks: those of the records.

    Returns:
        Rows that are compared with nothing yet, each with its `tag`.
    """
    return [_row(identity, group, metrics, ranks) for identity, group in _groups(records).items()]


def _groups(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by their identity without the seed, ordered by seed."""
    by_seed: dict[str, dict[int, Record]] = defaultdict(dict)
    for record in sorted(records, key=lambda record: record.created):
        by_seed[_identity(record)][record.trial.seed if record.trial else 0] = record
    return {
        identity: [group[seed] for seed in sorted(group)] for identity, group in by_seed.items()
    }


def _identity(record: Record, *without: str) -> str:
    """What has to be equal in records of one row, less some of its fields."""
    subject = record.subject
    content = subject.model_dump(mode="json", exclude={"seed", "overrides", *without})
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
        uncontrolled=_identity(first, "control"),
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
