"""Typed configuration of teachers (imports no torch)."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from bench import layers
from bench.errors import ConfigError, UnknownNameError
from bench.paths import Workspace
from bench.teachers.registry import KindEntry, find_kind


class TeacherConfig(BaseModel):
    """Which kind of builder makes a teacher, and with which options: `configs/teachers/*.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    summary: str = Field("", description="one line for `bench list teachers`")
    kind: str = Field(description="registered teacher kind, such as `text`")
    options: dict[str, Any] = Field(
        default_factory=dict, description="options of that kind; an unknown key is an error"
    )
    datasets: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="options that differ for one dataset"
    )

    def options_for(self, dataset: str) -> dict[str, Any]:
        """The options with those of `dataset` laid over them."""
        return layers.merge(self.options, self.datasets.get(dataset))


def teacher_kinds(workspace: Workspace) -> dict[str, KindEntry | None]:
    """The kind of every configured teacher; None where its file names none that is registered.

    So it is of a file that cannot be read, which only whoever asks for it is told.
    """
    found: dict[str, KindEntry | None] = {}
    for name in layers.names("teachers", workspace):
        found[name] = None
        with contextlib.suppress(ConfigError):
            found[name] = find_kind(layers.read("teachers", name, workspace).get("kind"))
    return found


def configured(workspace: Workspace) -> dict[str, tuple[str, dict[str, Any]]]:
    """All teachers that can be built, by name: the name of a file, and options laid over its own.

    Beside the teacher that a file says, its kind may make one of each student, such as
    `self-sasrec`, and twins, such as `text-random` (`KindEntry`). A file of that name is stronger.
    """
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, kind in teacher_kinds(workspace).items():
        variants = dict(kind.twins) if kind else {}
        if kind and kind.per_student:
            students = layers.names("students", workspace)
            variants |= {student: {"student": student} for student in students}
        found |= {f"{name}-{variant}": (name, own) for variant, own in variants.items()}
    return found | {name: (name, {}) for name in layers.names("teachers", workspace)}


def of_student(name: str, student: str, known: Mapping[str, tuple[str, dict[str, Any]]]) -> str:
    """The teacher called `name` in the trials of a student: some kinds have one for each.

    Args:
        name: of a teacher.
        student: name of the student.
        known: what is `configured`.
    """
    own = f"{name}-{student}"
    return own if known.get(own) == (name, {"student": student}) else name


def read_teacher(name: str, workspace: Workspace) -> TeacherConfig:
    """What a teacher of `configured` is made of.

    Raises:
        UnknownNameError: there is none of this name.
        ConfigError: its file cannot be understood.
    """
    if name in layers.names("teachers", workspace):
        return layers.load(TeacherConfig, "teachers", name, workspace)
    known = configured(workspace)
    if name not in known:
        raise UnknownNameError("teacher", name, known)
    file, own = known[name]
    config = layers.load(TeacherConfig, "teachers", file, workspace)
    datasets = {dataset: layers.merge(o, own) for dataset, o in config.datasets.items()}
    options = layers.merge(config.options, own)
    return config.model_copy(update={"options": options, "datasets": datasets})
