"""The files in `configs/students/`, `configs/methods/` and `configs/teachers/`, read by name."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from bench.config import layers
from bench.paths import Workspace
from bench.registry import MethodEntry
from bench.teachers.config import TeacherConfig


class StudentLayer(BaseModel):
    """What is tuned for one dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)


class StudentFile(StudentLayer):
    """A student: its RecBole model, and how it is trained."""

    summary: str = Field("", description="one line for `bench list students`")
    model: str = Field(description="class name of a RecBole sequential model")
    datasets: dict[str, StudentLayer] = Field(default_factory=dict)


class MethodFile(BaseModel):
    """Settings of a method beyond the defaults of its class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: dict[str, Any] = Field(default_factory=dict)
    variants: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="named settings, chosen as NAME:VARIANT"
    )
    datasets: dict[str, dict[str, Any]] = Field(default_factory=dict)
    search: list[dict[str, Any]] = Field(
        default_factory=list, description="settings that `bench tune` compares"
    )
    teacher: str = Field("text", description="teacher of a run that chooses none")


def read_student(name: str, workspace: Workspace) -> StudentFile:
    """The file of a student.

    Raises:
        UnknownNameError: there is none.
        ConfigError: it cannot be understood.
    """
    return layers.load(StudentFile, "students", name, workspace)


def read_teacher(name: str, workspace: Workspace) -> TeacherConfig:
    """The file of a teacher.

    Raises:
        UnknownNameError: there is none.
        ConfigError: it cannot be understood.
    """
    return layers.load(TeacherConfig, "teachers", name, workspace)


def read_method(entry: MethodEntry, workspace: Workspace) -> MethodFile:
    """The file of a method; an empty one where there is none.

    Raises:
        ConfigError: it cannot be understood.
    """
    if entry.name not in layers.names("methods", workspace):
        return MethodFile()
    return layers.load(MethodFile, "methods", entry.name, workspace)
