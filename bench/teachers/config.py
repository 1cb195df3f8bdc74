"""Typed configuration of teachers (imports no torch)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from bench import layers
from bench.paths import Workspace

SIGNALS = {
    "text": {"embeddings", "rankings", "confidence", "truth-distance"},
    "learn": {"embeddings", "rankings", "confidence", "truth-distance", "trajectories"},
    "raw-text": {"embeddings"},
    "ensemble": {"rankings", "confidence", "trajectories"},
    "bigrec": {"embeddings", "rankings", "confidence", "truth-distance"},
    "delrec": {"embeddings", "rankings", "confidence"},
    "mix": {"embeddings", "rankings", "confidence", "truth-distance"},
    "planted": {"embeddings", "rankings", "confidence"},
}
"""What the teachers of a kind will offer, for planning before one is built."""

LANGUAGE_MODELS = frozenset({"bigrec", "delrec"})
"""Kinds that load a language model and take days where there is no GPU: made when named."""

SYNTHETIC_ONLY = frozenset({"planted"})
"""Kinds that offer nothing on data whose truth is not known."""


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


def teacher_kinds(workspace: Workspace) -> dict[str, Any]:
    """The kind that the file of every configured teacher names, unchecked."""
    names = layers.names("teachers", workspace)
    return {name: layers.read("teachers", name, workspace).get("kind") for name in names}


def read_teacher(name: str, workspace: Workspace) -> TeacherConfig:
    """The file of a teacher.

    Raises:
        UnknownNameError: there is none.
        ConfigError: it cannot be understood.
    """
    return layers.load(TeacherConfig, "teachers", name, workspace)
