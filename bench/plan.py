"""What a trial is, its key and its seeds: pure, and without torch.

A trial is one training run with everything resolved that can change its result. Its key is a hash
of exactly that: neither the order of options, nor the other trials of a grid, nor the version of
Python move it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from bench.data.config import DataIdentity, Seen
from bench.students.config import StudentConfig
from bench.training.config import TrainingConfig

RESULTS_VERSION = 2
"""Raised whenever the suite's own code changes what a trial computes."""

DEFAULT_VARIANT = "default"


DataName = tuple[str, str]
"""Dataset and slug of the protocol."""
TeacherName = tuple[str, str, str]
"""Dataset, slug of the protocol and teacher."""


class TrialSpec(BaseModel):
    """What a trial will be: one setting under one method and seed.

    Which data and which teacher the names stand for is open until both are made; see `Trial`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    protocol: str = Field(description="slug of the protocol, such as `temporal-10`")
    seen: Seen | Literal["auto"] = Field(
        "rank",
        description="whether items that the user had before are ranked; auto: as the data say",
    )
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
    seed: int = Field(ge=0)
    overrides: dict[str, Any] = Field(
        default_factory=dict, description="the --set values that concern this trial; for people"
    )

    @property
    def data_name(self) -> DataName:
        return self.dataset, self.protocol

    @property
    def teacher_name(self) -> TeacherName | None:
        return None if self.teacher is None else (self.dataset, self.protocol, self.teacher)

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


class Trial(TrialSpec):
    """A trial whose data and teacher are known by their fingerprints, and which so has a key."""

    seen: Seen = "rank"
    data_fingerprint: str
    teacher_fingerprint: str | None = Field(None, validate_default=True)

    @field_validator("teacher_fingerprint")
    @classmethod
    def _of_its_teacher(cls, value: str | None, others: ValidationInfo) -> str | None:
        if value is None and others.data.get("teacher") is not None:
            raise ValueError("is missing beside a teacher")
        return value

    @property
    def key(self) -> str:
        """SHA-256 of all that can change the result, 64 hex digits."""
        return self.key_of(content_of(self))

    def key_of(self, content: Mapping[str, Any]) -> str:
        """The key, given what `content_of` says of it."""
        # Trials of before there was a choice ranked all items: their keys say nothing of it.
        unsaid = {"overrides", "seen"} if self.seen == "rank" else {"overrides"}
        said = {name: value for name, value in content.items() if name not in unsaid}
        return canonical_digest({"results_version": RESULTS_VERSION, **said})


OF_SUMS = ("student", "objective", "seed", "setting", "made_of")
"""Fields of references that are made of trials; others have none of them."""


class Reference(BaseModel):
    """An entry of a leaderboard that needs no training of its own.

    A baseline, a teacher's own ranking, or the sum of what two finished trials score.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    protocol: str
    name: str = Field(description="of a baseline, or `teacher:<name>`")
    data_fingerprint: str
    teacher_fingerprint: str | None = None
    code: str | None = Field(None, description="digest of a baseline that is not the suite's own")
    student: str | None = Field(None, description="of the trials whose scores are added up")
    objective: str | None = Field(None, description="of these trials")
    seed: int | None = Field(None, description="of these trials")
    setting: str | None = Field(None, description="of these trials, as in frames of runs")
    made_of: str | None = Field(None, description="digest of what they are, but for the seed")

    @property
    def key(self) -> str:
        """SHA-256 of its identity, 64 hex digits."""
        return self.key_of(content_of(self))

    def key_of(self, content: Mapping[str, Any]) -> str:
        """The key, given what `content_of` says of it."""
        optional = {"code", *OF_SUMS}
        said = {n: value for n, value in content.items() if n not in optional or value is not None}
        return canonical_digest({"results_version": RESULTS_VERSION, "kind": "reference", **said})


def content_of(subject: Trial | Reference) -> dict[str, Any]:
    """All that a trial or reference is, as plain values in their canonical form."""
    unsaid = {*OF_SUMS} if isinstance(subject, Reference) and subject.made_of is None else None
    content: dict[str, Any] = canonical(subject.model_dump(mode="json", exclude=unsaid))
    return content


def identify(
    specs: Iterable[TrialSpec],
    data: Mapping[DataName, DataIdentity | None],
    teachers: Mapping[TeacherName, str | None],
) -> list[Trial | None]:
    """The trial of each specification; None where its data or teacher is not known yet.

    Args:
        specs: what is planned.
        data: that are prepared.
        teachers: fingerprints of the teachers that are built.
    """
    found: list[Trial | None] = []
    for spec in specs:
        of_data = data.get(spec.data_name)
        of_teacher = teachers.get(spec.teacher_name) if spec.teacher_name else None
        if of_data is None or (spec.teacher is not None and of_teacher is None):
            found.append(None)
            continue
        resolved = {
            "seen": of_data.seen if spec.seen == "auto" else spec.seen,
            "data_fingerprint": of_data.fingerprint,
            "teacher_fingerprint": of_teacher,
        }
        found.append(Trial.model_validate({**dict(spec), **resolved}))
    return found


def derive_seed(trial: TrialSpec, purpose: str) -> int:
    """The seed of one purpose (`student`, `order`, `dropout`, ...) in a trial, 0 <= seed < 2^63.

    It depends on the setting and on the seed's number, never on the method or its teacher: all
    methods of a setting share initialisation and batch order.
    """
    setting = [trial.dataset, trial.protocol, trial.student, trial.training.objective]
    return seed_of(*setting, trial.seed, purpose)


def seed_of(*purpose: Any) -> int:
    """The seed that stands for some plain values, 0 <= seed < 2^63; other values, another seed."""
    return int(digest(purpose)[:16], 16) >> 1


def digest(content: Any) -> str:
    """SHA-256 of the canonical JSON of `content`: sorted keys, 1.0 the same as 1, no NaN."""
    return canonical_digest(canonical(content))


def canonical_digest(content: Any) -> str:
    """`digest` of content that is in its canonical form already."""
    return hashlib.sha256(_CANONICAL.encode(content).encode()).hexdigest()


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical(value: Any) -> Any:
    """A value with lists and dictionaries alone, and whole numbers where they are whole."""
    if value is None or isinstance(value, str | int):  # most are: a report asks this of millions
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, Mapping):
        return {key: canonical(item) for key, item in value.items()}
    return value
