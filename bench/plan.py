"""What a trial is, its key and its seeds: pure, and without torch.

A trial is one training run with everything resolved that can change its result. Its key is a hash
of exactly that: neither the order of options, nor other cells of the grid, nor the version of
Python move it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from bench.students.config import StudentConfig
from bench.training.config import TrainingConfig

RESULTS_VERSION = 2
"""Raised whenever the suite's own code changes what a trial computes."""

DEFAULT_VARIANT = "default"

COUNTED = ("popularity", "item-knn")
"""References that count training rows, and ask for nothing that has to be chosen."""


class Trial(BaseModel):
    """One cell of the grid under one seed.

    Fingerprints that are None are not known yet: the data are not prepared, or the teacher is not
    built. Such a trial has no key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    protocol: str = Field(description="slug of the protocol, such as `temporal-10`")
    data_fingerprint: str | None = None
    student: str
    student_config: StudentConfig
    training: TrainingConfig
    method: str
    variant: str = DEFAULT_VARIANT
    method_settings: dict[str, Any] = Field(
        default_factory=dict, description="what differs from the defaults of the method's class"
    )
    method_code: str = Field(description="digest of the method's code")
    teacher: str | None = Field(None, description="None for a method that needs no teacher")
    control: str | None = None
    teacher_fingerprint: str | None = None
    seed: int = Field(ge=0)
    overrides: dict[str, Any] = Field(
        default_factory=dict, description="the --set values that concern this trial; for people"
    )

    @property
    def is_identified(self) -> bool:
        """Whether data and teacher are known, so that the trial has a key."""
        return self.data_fingerprint is not None and (
            self.teacher is None or self.teacher_fingerprint is not None
        )

    @property
    def key(self) -> str:
        """SHA-256 of all that can change the result, 64 hex digits.

        Raises:
            ValueError: the trial is not identified.
        """
        if not self.is_identified:
            raise ValueError(f"{self.label}: data or teacher are not known yet")
        content = self.model_dump(mode="json", exclude={"overrides"})
        return digest({"results_version": RESULTS_VERSION, **content})

    @property
    def method_name(self) -> str:
        """The method as it is chosen on the command line: NAME or NAME:VARIANT."""
        return self.method if self.variant == DEFAULT_VARIANT else f"{self.method}:{self.variant}"

    @property
    def teacher_label(self) -> str | None:
        """The teacher with its control, such as `text (shuffled)`; None without a teacher."""
        return f"{self.teacher} ({self.control})" if self.control else self.teacher

    @property
    def label(self) -> str:
        """One line for people, such as `game sasrec dllm2rec (text) seed 0`."""
        control = f", {self.control}" if self.control else ""
        teacher = f" ({self.teacher}{control})" if self.teacher else ""
        return f"{self.dataset} {self.student} {self.method_name}{teacher} seed {self.seed}"


class Reference(BaseModel):
    """A row that needs no training: the ranking by popularity, or a teacher's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    protocol: str
    name: str = Field(description="one of `COUNTED`, or `teacher:<name>`")
    data_fingerprint: str
    teacher_fingerprint: str | None = None

    @property
    def key(self) -> str:
        """SHA-256 of its identity, 64 hex digits."""
        content = self.model_dump(mode="json")
        return digest({"results_version": RESULTS_VERSION, "kind": "reference", **content})


DataName = tuple[str, str]
"""Dataset and slug of the protocol."""
TeacherName = tuple[str, str, str]
"""Dataset, slug of the protocol and teacher."""


def identify(
    trials: Iterable[Trial],
    data: Mapping[DataName, str | None],
    teachers: Mapping[TeacherName, str | None],
) -> list[Trial]:
    """The trials with the fingerprints of their data and teachers, as far as they are known."""
    return [
        trial.model_copy(
            update={
                "data_fingerprint": data.get((trial.dataset, trial.protocol)),
                "teacher_fingerprint": trial.teacher
                and teachers.get((trial.dataset, trial.protocol, trial.teacher)),
            }
        )
        for trial in trials
    ]


def references(trials: Iterable[Trial]) -> list[Reference]:
    """The reference rows that the leaderboard of identified trials is read against."""
    found: dict[str, Reference] = {}
    for trial in trials:
        if trial.data_fingerprint is None:
            continue
        cell = {
            "dataset": trial.dataset,
            "protocol": trial.protocol,
            "data_fingerprint": trial.data_fingerprint,
        }
        rows = [Reference(name=name, **cell) for name in COUNTED]
        if trial.teacher_fingerprint is not None:
            rows.append(
                Reference(
                    name=f"teacher:{trial.teacher}",
                    teacher_fingerprint=trial.teacher_fingerprint,
                    **cell,
                )
            )
        found |= {row.key: row for row in rows}
    return list(found.values())


def derive_seed(trial: Trial, purpose: str) -> int:
    """The seed of one purpose (`student`, `order`, `dropout`, ...) in a trial, 0 <= seed < 2^63.

    It depends on the cell and on the seed's number, never on the method or its teacher: all
    methods of a cell share initialisation and batch order.
    """
    cell = [trial.dataset, trial.protocol, trial.student, trial.training.objective, trial.seed]
    return seed_of(*cell, purpose)


def seed_of(*purpose: Any) -> int:
    """The seed that stands for some plain values, 0 <= seed < 2^63; other values, another seed."""
    return int(digest(purpose)[:16], 16) >> 1


def digest(content: Any) -> str:
    """SHA-256 of the canonical JSON of `content`: sorted keys, 1.0 the same as 1, no NaN."""
    text = json.dumps(_canonical(content), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
