"""Records as data: a DataFrame with one line per run.

A run is a trial, or a ranking that needed no training: a baseline's or a teacher's own. This file
alone knows where a record keeps what; leaderboards and reports read columns.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench import plan
from bench.errors import ConfigError
from bench.evaluation.metrics import CATALOGUE, RANKED_PLACES, metric_names
from bench.evaluation.segments import TARGET_SEGMENTS
from bench.plan import Reference, Trial, canonical_digest
from bench.records.record import Record
from bench.registry import METHODS

_logger = logging.getLogger(__name__)

TEXT = "object"
"""Python's own strings, in every version of pandas. One that is missing is unequal to every text,
where one of the dtype `string` would be neither equal nor unequal."""

COLUMNS = {
    "key": TEXT,
    "kind": TEXT,
    "dataset": TEXT,
    "protocol": TEXT,
    "student": TEXT,
    "objective": TEXT,
    "method": TEXT,
    "variant": TEXT,
    "teacher": TEXT,
    "control": TEXT,
    "seed": "Int64",
    "status": TEXT,
    "error": TEXT,
    "overrides": "object",
    "settings": "object",
    "selection": TEXT,
    "seen": TEXT,
    "monitor": TEXT,
    "best_epoch": "Int64",
    "epochs": "Int64",
    "steps": "Int64",
    "train_seconds": "float64",
    "epoch_seconds": "float64",
    "wall_seconds": "float64",
    "cpu_seconds": "float64",
    "total_seconds": "float64",
    "parameters": "Int64",
    "train_parameters": "Int64",
    "latency_ms": "float64",
    "latency_ms_p95": "float64",
    "coverage": "float64",
    "device": TEXT,
    "device_name": TEXT,
    "node": TEXT,
    "executor": TEXT,
    "cores": "Int64",
    "threads": "Int64",
    "python": TEXT,
    "torch": TEXT,
    "commit": TEXT,
    "timed_on": TEXT,
    "created": TEXT,
    "folder": TEXT,
    "data_fingerprint": TEXT,
    "teacher_fingerprint": TEXT,
    "results_version": "Int64",
    "is_current": "bool",
    "setting": TEXT,
    "entry": TEXT,
    "counterpart": TEXT,
    "examples": "Int64",
}
"""Columns of every frame of runs and their dtypes; docs/python.md says what they hold.

The metrics follow, float64: `ndcg@20` is of the test split, `valid/ndcg@20` of the validation
split, `test-masked/ndcg@20` of test without the items that users had before, `cold/ndcg@20` of a
segment of test, which has `cold/examples` examples.
"""

_TEXTS = ("device", "device_name", "node", "executor", "python", "commit")
"""What is kept of a record's environment as it is."""

_OF_ONE_RUN = ("seed", "overrides")
"""What of a trial its entry does not depend on."""

_MACHINE = ("machine", "device", "device_name", "cores", "threads")
"""What of a record's environment decides how long an epoch takes."""


def runs(records: Iterable[Record], folder: Path) -> pd.DataFrame:
    """One line per record, in the order of the records.

    Args:
        records: finished or failed.
        folder: the results folder that they lie in. `leaderboard` reads the ranks there.

    Returns:
        `COLUMNS` and the metrics that any record has.
    """
    place, texts = str(folder.resolve()), dict[str, str]()
    lines: list[list[Any]] = []
    blocks: dict[tuple[str, ...], _Block] = {}
    for record in records:
        try:
            line = {**_line(record), "folder": place}
            values = [line.get(name) for name in COLUMNS]
            _check(values)
            _check_places(line)
            names, numbers = _metrics(record)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            _logger.warning(
                f"ignored the record {record.key[:12]} in {folder}, which holds what none should: "
                f"{type(error).__name__}: {error}. Remove its folder"
            )
            continue
        block = blocks.setdefault(names, _Block())
        block.lines.append(len(lines))
        block.numbers.extend(numbers)
        # Thousands of records repeat the same texts: equal ones are kept once.
        lines.append([texts.setdefault(v, v) if isinstance(v, str) else v for v in values])
    columns = zip(*lines, strict=True) if lines else [[]] * len(COLUMNS)
    return pd.DataFrame(
        {
            name: pd.Series(values, dtype=kind)
            for (name, kind), values in zip(COLUMNS.items(), columns, strict=True)
        }
    ).join(_measured(blocks, len(lines)))


@dataclass(frozen=True)
class _Block:
    """The metrics of records that have the same ones: their lines, and their numbers one by one."""

    lines: list[int] = field(default_factory=list)
    numbers: array[float] = field(default_factory=lambda: array("d"))


def _measured(blocks: Mapping[tuple[str, ...], _Block], count: int) -> pd.DataFrame:
    """The metrics of all lines; those that a record does not have are NaN."""
    names = [*dict.fromkeys([*metric_names(), *itertools.chain(*blocks)])]
    values = np.full((len(names), count), np.nan)
    row = {name: number for number, name in enumerate(names)}
    for measured, block in blocks.items():
        numbers = np.frombuffer(block.numbers).reshape(len(block.lines), len(measured))
        values[np.ix_([row[name] for name in measured], block.lines)] = numbers.T
    frame = pd.DataFrame(values.T, columns=names, copy=False)
    return frame.drop(columns=[name for name in names if name in COLUMNS])  # of an odd record


_TYPES: dict[str, tuple[type, ...]] = {
    TEXT: (str, dict),
    "Int64": (int,),
    "float64": (int, float),
    "bool": (bool,),
}
_LARGEST = {"Int64": 2.0**63, "float64": 1e300}
_ALLOWED = [(name, _TYPES[kind], _LARGEST.get(kind)) for name, kind in COLUMNS.items()]
"""Of each column its types, and what its numbers stay below."""


def _check(values: Sequence[Any]) -> None:
    """Reject a value that is not of its column's type; metrics were validated with the record.

    Raises:
        TypeError: one is not.
    """
    for value, (name, types, largest) in zip(values, _ALLOWED, strict=True):
        if value is None:
            continue
        fits = isinstance(value, types)
        if not fits or (largest is not None and not -largest <= value < largest):
            raise TypeError(f"{name} is {value!r:.80}")


def _check_places(line: Mapping[str, Any]) -> None:
    """Reject a ranking whose numbers of places are none; methods' settings have names of their own.

    Raises:
        TypeError: it does.
    """
    if line["kind"] == "trial":
        return
    for name in (RANKED_PLACES, CATALOGUE):
        value = line["settings"].get(name, 1)
        if type(value) is not int or value < 1:
            raise TypeError(f"{name} is {value!r:.80}")


def _line(record: Record) -> dict[str, Any]:
    subject, version = record.subject, _version(record)
    of_subject = (
        _of_trial(subject, record.content, version)
        if isinstance(subject, Trial)
        else _of_reference(subject, record.content, version)
    )
    return {
        **of_subject,
        "key": record.key,
        "dataset": subject.dataset,
        "protocol": subject.protocol,
        "data_fingerprint": subject.data_fingerprint,
        "teacher_fingerprint": subject.teacher_fingerprint,
        "status": record.status,
        "error": record.error,
        "settings": record.settings,
        "created": record.created,
        "results_version": version,
        "is_current": version == plan.RESULTS_VERSION and _is_todays_code(subject),
        **_cost(record),
        **_environment(record),
        "examples": _examples(record),
    }


def _of_trial(trial: Trial, content: Mapping[str, Any], version: int | None) -> dict[str, Any]:
    entry = _entry(content, version)
    return {
        "kind": "trial",
        "student": trial.student,
        "objective": trial.training.objective,
        "method": trial.method_name,
        "variant": trial.variant,
        "teacher": trial.teacher,
        "control": trial.control,
        "seed": trial.seed,
        # The rule has a column of its own, and is the same whether it was chosen or found.
        "overrides": {k: v for k, v in trial.overrides.items() if k != "protocol.seen"},
        "selection": trial.training.selection,
        "seen": trial.seen,
        "monitor": f"{'valid-masked' if trial.seen == 'mask' else 'valid'}/{trial.training.select}",
        "setting": _setting(content, version),
        "entry": entry,
        "counterpart": entry if trial.control is None else _entry(content, version, control=None),
    }


def _of_reference(
    reference: Reference, content: Mapping[str, Any], version: int | None
) -> dict[str, Any]:
    method, _, teacher = reference.name.partition(":")
    return {
        "kind": "teacher" if teacher else "baseline",
        "method": method,
        "teacher": teacher or None,
        "student": reference.student,
        "objective": reference.objective,
        "seed": reference.seed,
        "setting": reference.setting,
        "overrides": {},
        "selection": "validation",
        "entry": _entry(content, version),
    }


def setting_of(trial: Trial) -> str:
    """What all trials have in common that are compared: data, rule, student and training."""
    return _setting(plan.content_of(trial), plan.RESULTS_VERSION)


def _setting(content: Mapping[str, Any], version: int | None) -> str:
    data = [content[name] for name in ("dataset", "protocol", "data_fingerprint")]
    parts = [content[name] for name in ("seen", "student", "student_config", "training")]
    return canonical_digest([version, data, *parts])


def _entry(content: Mapping[str, Any], version: int | None, **changes: Any) -> str:
    """What has to be equal in runs that differ in nothing but the seed."""
    shared = {name: value for name, value in content.items() if name not in _OF_ONE_RUN}
    return canonical_digest({"results_version": version, **shared, **changes})


def _version(record: Record) -> int | None:
    """RESULTS_VERSION of the suite that wrote the record; None for some older one.

    The key of a record tells as well: an older suite gave the same content another key.
    """
    # Of records of today's version the store has seen to it.
    today = record.results_version == plan.RESULTS_VERSION or record.subject_key == record.key
    return plan.RESULTS_VERSION if today else record.results_version


def _is_todays_code(subject: Trial | Reference) -> bool:
    """Whether the method's code is today's, which cannot be known of a plug-in that is absent."""
    if not isinstance(subject, Trial):
        return True
    code = _code_digest(subject.method)
    return code is None or code == subject.method_code


@lru_cache
def _code_digest(method: str) -> str | None:
    entry = next((entry for entry in METHODS if entry.name == method), None)
    with contextlib.suppress(ConfigError):  # a file that cannot be read any more
        return None if entry is None else entry.code_digest
    return None


def _cost(record: Record) -> dict[str, Any]:
    seconds, epochs, covered = record.timings.get(_clock(record)), record.epochs, record.teacher
    return {
        "best_epoch": record.best_epoch,
        "epochs": epochs,
        "steps": record.steps,
        "train_seconds": seconds,
        "epoch_seconds": seconds / epochs if seconds and epochs else None,
        "wall_seconds": record.timings.get("train_seconds"),
        "cpu_seconds": record.timings.get("train_cpu_seconds"),
        "total_seconds": record.timings.get("total_seconds"),
        "parameters": record.parameters.get("inference"),
        "train_parameters": record.parameters.get("training"),
        "latency_ms": record.latency.get("ms_p50"),
        "latency_ms_p95": record.latency.get("ms_p95"),
        "coverage": covered["covered"] / covered["rows"] if covered.get("rows") else None,
    }


def _clock(record: Record) -> str:
    """Which timing is compared: on a CPU the processor's, which other work does not lengthen."""
    on_cpu = record.environment.get("device") == "cpu" and record.timings.get("train_cpu_seconds")
    return "train_cpu_seconds" if on_cpu else "train_seconds"


def _environment(record: Record) -> dict[str, Any]:
    environment = record.environment
    counts = {name: environment.get(name) for name in ("cores", "threads")}
    known = environment.keys() >= set(_MACHINE)
    machine = [_clock(record), *(str(environment.get(name)) for name in _MACHINE)]
    return {
        **{name: environment.get(name) for name in _TEXTS},
        **{name: count if isinstance(count, int) else None for name, count in counts.items()},
        "torch": environment.get("packages", {}).get("torch"),
        "timed_on": ", ".join(machine) if known else None,
    }


def _metrics(record: Record) -> tuple[tuple[str, ...], list[float]]:
    """Names and numbers of what was measured; what is not known is NaN."""
    parts: dict[str, Mapping[str, float | None]] = {**record.metrics, **record.segments}
    names = _columns(tuple((part, tuple(values)) for part, values in parts.items()))
    values = itertools.chain.from_iterable(part.values() for part in parts.values())
    return names, [math.nan if value is None else value for value in values]


@lru_cache
def _columns(parts: tuple[tuple[str, tuple[str, ...]], ...]) -> tuple[str, ...]:
    """Columns of the metrics of splits and segments. Those of test stand alone."""
    return tuple(
        name if part == "test" else f"{part}/{'examples' if name == 'rows' else name}"
        for part, names in parts
        for name in names
    )


def _examples(record: Record) -> int | None:
    """How many test examples it ranked."""
    sizes = [record.segments.get(name, {}).get("rows") for name in TARGET_SEGMENTS]
    return int(sum(size or 0 for size in sizes)) or None
