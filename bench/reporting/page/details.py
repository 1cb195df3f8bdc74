"""An entry as its page in the page: its runs with their curves, settings, machines and failures."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench import layers, limits
from bench.errors import DataError
from bench.plan import Trial
from bench.records.archive import UNREADABLE, Place
from bench.records.record import Record
from bench.records.store import CURVE, ResultStore
from bench.reporting.page.again import command

_UNSHOWN = ("train_seconds", "evaluate_seconds", "train_cpu_seconds")
"""Columns of a curve that say what it cost; the costs of a run stand beside it."""

_DIGITS = 5
"""Significant digits of a curve's values: more than a plot can show."""


class Details:
    """Reads what the frames of runs leave out: the records themselves and their curves.

    Args:
        runs: of each entry and seed one, of one or several results folders.
        metrics: names of the metrics whose curves and segments are shown.
    """

    def __init__(self, runs: pd.DataFrame, metrics: Sequence[str]) -> None:
        self._runs = dict(iter(runs[["entry", "key", "folder"]].groupby("entry", sort=False)))
        self._metrics = metrics
        self._stores: dict[str, ResultStore] = {}

    def of(self, entry: str) -> dict[str, Any] | None:
        """All that is known of an entry, in plain values; None where no run is of it."""
        if entry not in self._runs:
            return None
        found = []
        for run in self._runs[entry].itertuples():
            folder = str(run.folder)
            store = self._stores.setdefault(folder, ResultStore(Path(folder)))
            record = store.get(str(run.key))
            if record is not None:
                found.append((record, self._curve(store, record)))
        found.sort(key=lambda pair: pair[0].trial.seed if pair[0].trial else 0)
        records = [record for record, _ in found]
        trials = [record.trial for record in records if record.trial is not None]
        return {
            "command": command(trials) if trials else None,
            "settings": _settings(records),
            "environments": _environments(records),
            "segments": self._segments(records),
            "runs": [self._run(record, curve) for record, curve in found],
        }

    def _run(self, record: Record, curve: dict[str, Any] | None) -> dict[str, Any]:
        return {
            "key": record.key,
            "seed": record.trial.seed if record.trial else None,
            "status": record.status,
            "error": record.error,
            "created": record.created[:19].replace("T", " "),
            "metrics": {
                split: {name: values.get(name) for name in self._metrics}
                for split, values in record.metrics.items()
            },
            "best_epoch": record.best_epoch,
            "epochs": record.epochs,
            "steps": record.steps,
            "seconds": record.timings.get("total_seconds"),
            "latency": record.latency.get("ms_p50"),
            "covered": record.teacher.get("covered"),
            "examples": record.teacher.get("rows"),
            "curve": curve,
        }

    def _curve(self, store: ResultStore, record: Record) -> dict[str, Any] | None:
        """Columns of a run's curve and their values by epoch; None where there is none."""
        try:
            place = store.place(record.key, CURVE)
            lines = [] if place is None else _lines(place)
        except (DataError, *UNREADABLE):
            return None
        if not lines:
            return None
        every = [name for name in lines[0] if name is not None and name not in _UNSHOWN]
        shown = [name for name in every if "@" not in name or name in self._wanted(record)]
        return {
            "columns": shown,
            "lines": [[_number(line.get(name)) for name in shown] for line in lines],
            "monitor": record.trial.training.select if record.trial else None,
        }

    def _wanted(self, record: Record) -> set[str]:
        return {*self._metrics, *([record.trial.training.select] if record.trial else [])}

    def _segments(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        """Means over seeds of the first metrics, by segment of the test examples."""
        done = [record for record in records if record.is_done]
        names = list(done[0].segments) if done else []
        found = []
        for name in names:
            parts = [record.segments.get(name, {}) for record in done]
            means = {
                metric: _mean([part.get(metric) for part in parts]) for metric in self._metrics
            }
            size = parts[0].get("rows")
            if size and any(mean is not None for mean in means.values()):
                found.append({"name": name, "examples": int(size), **means})
        return found


def _lines(place: Place) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(limits.read_whole(place, limits.CURVE).decode())))


def _settings(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Every setting of the trials by its dotted name; what a method derived, of the first."""
    record = next((each for each in records if each.is_done), records[0] if records else None)
    if record is None or not isinstance(record.subject, Trial):
        return []
    trial = record.subject
    parts: dict[str, Mapping[str, Any]] = {
        "protocol": {"slug": trial.protocol, "seen": trial.seen},
        "student": {"model": trial.student_config.model, **trial.student_config.parameters},
        "training": trial.training.model_dump(),
        "method": record.settings or trial.method_settings,
    }
    facts = {
        "data": trial.data_fingerprint,
        "teacher": trial.teacher_fingerprint,
        "method's code": trial.method_code,
    }
    flat = layers.flat({part: dict(values) for part, values in parts.items() if values})
    return [(name, _plain(value)) for name, value in flat.items()] + [
        (f"fingerprint: {name}", value) for name, value in facts.items() if value
    ]


def _environments(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The machines and versions that runs were made with, each once, with the seeds of its runs."""
    found: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for record in records:
        flat = layers.flat(record.environment) if record.environment else {}
        lines = tuple((name, _plain(value)) for name, value in flat.items())
        found.setdefault(lines, []).append(str(record.trial.seed) if record.trial else "")
    return [{"seeds": " ".join(seeds), "lines": lines} for lines, seeds in found.items() if lines]


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
