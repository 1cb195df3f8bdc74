"""Typed configuration of teachers (imports no torch)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from bench import layers
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
    """The kind of every configured teacher; None where its file names none that is registered."""
    names = layers.names("teachers", workspace)
    return {name: find_kind(layers.read("teachers", name, workspace).get("kind")) for name in names}


def read_teacher(name: str, workspace: Workspace) -> TeacherConfig:
    """The file of a teacher.

    Raises:
        UnknownNameError: there is none.
        ConfigError: it cannot be understood.
    """
    return layers.load(TeacherConfig, "teachers", name, workspace)
