"""The record of one trial: what ran, what came out, where and how long (imports no torch)."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from bench import plan
from bench.data.examples import Ids
from bench.errors import Diverged
from bench.evaluation.metrics import MASKED
from bench.plan import Reference, Trial
from bench.records.arrays import hashes

Status = Literal["done", "diverged", "out-of-memory", "lost-worker", "error"]


@dataclass(frozen=True)
class Outcome:
    """What a finished trial hands back.

    Attributes:
        metrics: value by metric name (`ndcg@20`), by split (`valid`, `test`; `valid-masked` and
            `test-masked` with the items left out that users had before).
        segments: of the test examples, by name: their number, `rows`, and metrics.
        ranks: int32 [R_test], 1-based rank of each target over the full catalogue, ties against
            the target.
        masked_ranks: the same with the items left out that the user had before; None where they
            are not known.
        curve: one mapping per epoch: losses and validation metrics.
        log: events of the run, one mapping each.
        state: the folded student's tensors, by RecBole's names.
        best_epoch: the epoch that was kept, counted from 1.
        epochs: how many were trained.
        steps: how many optimiser steps were taken.
        timings: seconds by name, such as `train_seconds`.
        parameters: counts, `training` and `inference`.
        latency: what one prediction costs, by name.
        settings: the method's settings with all defaults filled in.
        teacher: number of training examples, `rows`, and of those with a list, `covered`;
            empty without lists.
        notes: what a reader of the result should know of how it came about, a sentence each.
    """

    metrics: dict[str, dict[str, float]]
    segments: dict[str, dict[str, float]]
    ranks: Ids
    masked_ranks: Ids | None = None
    curve: list[dict[str, Any]] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    state: dict[str, NDArray[Any]] = field(default_factory=dict)
    best_epoch: int | None = None
    epochs: int | None = None
    steps: int | None = None
    timings: dict[str, float] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    latency: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    teacher: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def now() -> str:
    """This moment, UTC, in ISO 8601: later moments sort after it."""
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")


class Retry(BaseModel):
    """Which failures run again: a lost worker's, which may not have been the trial's, or all.

    They are those that were there when the run began. No clock tells them from those that came
    later, since that of another machine may be wrong.

    Attributes:
        failed: whether all failures run again.
        known: those that do, by key: what their records say of when they were made.
    """

    model_config = ConfigDict(frozen=True)

    failed: bool = False
    known: dict[str, str] = Field(default_factory=dict)

    def wants(self, record: Record) -> bool:
        """Whether a record is of a failure that runs again, if it was there at the beginning."""
        return not record.is_done and (self.failed or record.status == "lost-worker")

    def knowing(self, records: Iterable[Record | None]) -> Retry:
        """The same, for a run that begins with these records."""
        wanted = {one.key: one.created for one in records if one is not None and self.wants(one)}
        return self.model_copy(update={"known": {**self.known, **wanted}})


class Record(BaseModel):
    """One trial or reference as `record.json` keeps it.

    A record whose status is not `done` has an `error` and no metrics.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str = Field(pattern=r"^[0-9a-f]{64}$")
    results_version: int | None = Field(
        None, description="`bench.plan.RESULTS_VERSION` of the suite that wrote it, if it says so"
    )
    kind: Literal["trial", "reference"]
    status: Status
    error: str | None = None
    trial: Trial | None = None
    reference: Reference | None = None
    metrics: dict[str, dict[str, FiniteFloat]] = Field(default_factory=dict)
    segments: dict[str, dict[str, float | None]] = Field(default_factory=dict)
    best_epoch: int | None = None
    epochs: int | None = None
    steps: int | None = None
    timings: dict[str, float | None] = Field(default_factory=dict)
    parameters: dict[str, int] = Field(default_factory=dict)
    latency: dict[str, float | None] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    teacher: dict[str, int] = Field(default_factory=dict)
    environment: dict[str, Any] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)
    arrays: dict[str, str] = Field(
        default_factory=dict, description="SHA-256 of what the files of arrays beside it hold"
    )
    created: str = Field(default_factory=now)

    @model_validator(mode="after")
    def _subject_fits(self) -> Record:
        if self._held is None:
            raise ValueError(f"a record of a {self.kind} must hold it")
        if self.status == "done" and not self.metrics:
            raise ValueError("a record that is done must hold metrics")
        if self.status != "done" and self.error is None:
            raise ValueError("a failure must say what went wrong")
        return self

    @property
    def subject(self) -> Trial | Reference:
        """What the record is of."""
        assert self._held is not None  # noqa: S101 - as validated
        return self._held

    @functools.cached_property
    def content(self) -> dict[str, Any]:
        """What its subject is, as plain values: keys and entries are made of it."""
        return plan.content_of(self.subject)

    @property
    def subject_key(self) -> str:
        """The key that its subject has today."""
        return self.subject.key_of(self.content)

    @property
    def _held(self) -> Trial | Reference | None:
        return self.trial if self.kind == "trial" else self.reference

    def metrics_of(self, split: str) -> dict[str, float]:
        """Metrics of `valid` or `test` under the protocol's rule for items seen before."""
        masked = self.trial is not None and self.trial.seen == "mask"
        return self.metrics[f"{split}-{MASKED}" if masked else split]

    @property
    def is_done(self) -> bool:
        return self.status == "done"

    def is_to_be_retried(self, retry: Retry) -> bool:
        """Whether the trial runs again although it has this record."""
        return retry.known.get(self.key) == self.created


def finished(
    subject: Trial | Reference, outcome: Outcome, environment: dict[str, Any] | None = None
) -> Record:
    """The record of a success.

    Raises:
        Diverged: a metric is NaN or infinite, or a rank is below 1; that is no result.
    """
    for split, values in outcome.metrics.items():
        for name, value in values.items():
            if not math.isfinite(value):
                raise Diverged(f"{split} {name} is {value}")
    if len(outcome.ranks) and outcome.ranks.min() < 1:
        raise Diverged(f"a test target has rank {outcome.ranks.min()}; ranks count from 1")
    return Record.model_validate(
        {
            **_identity(subject),
            "status": "done",
            "metrics": outcome.metrics,
            "segments": without_nan(outcome.segments),
            "best_epoch": outcome.best_epoch,
            "epochs": outcome.epochs,
            "steps": outcome.steps,
            "timings": without_nan(outcome.timings),
            "parameters": outcome.parameters,
            "latency": without_nan(outcome.latency),
            "settings": without_nan(outcome.settings),
            "teacher": outcome.teacher,
            "environment": environment or {},
            "notes": outcome.notes,
            "arrays": hashes(outcome.ranks, outcome.masked_ranks, outcome.state),
        }
    )


def failed(
    trial: Trial, status: str, error: str, environment: dict[str, Any] | None = None
) -> Record:
    """The record of a trial that ended without a result; `status` is one of `Status`."""
    return Record.model_validate(
        {
            **_identity(trial),
            "status": status,
            "error": error,
            "environment": environment or {},
        }
    )


def without_nan(value: Any) -> Any:
    """The value in plain Python, every NaN and infinity in it replaced by None: JSON has none.

    Raises:
        TypeError: it holds something that is neither a number, a text nor a collection of these.
    """
    if isinstance(value, dict):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if not (value is None or isinstance(value, bool | int | float | str)):
        raise TypeError(f"{type(value).__name__} {value!r:.80} cannot be kept in a record")
    return value


def _identity(subject: Trial | Reference) -> dict[str, Any]:
    kind = "trial" if isinstance(subject, Trial) else "reference"
    version = plan.RESULTS_VERSION
    return {"key": subject.key, "results_version": version, "kind": kind, kind: subject}
