"""Typed configuration of students (imports no torch)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from bench import layers
from bench.paths import Workspace


class StudentConfig(BaseModel):
    """Which RecBole model, and with which of RecBole's own hyper-parameters.

    A new RecBole sequential model is a new YAML file of this shape, not new code.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(description="class name of a RecBole sequential model, such as SASRec")
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="RecBole hyper-parameters of that model; an unknown key is an error",
    )


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


def read_student(name: str, workspace: Workspace) -> StudentFile:
    """The file of a student.

    Raises:
        UnknownNameError: there is none.
        ConfigError: it cannot be understood.
    """
    return layers.load(StudentFile, "students", name, workspace)
