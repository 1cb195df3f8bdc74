"""The files in `configs/methods/`, read by name."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from bench import layers
from bench.config.search import Range
from bench.paths import Workspace
from bench.registry import MethodEntry


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
    ranges: dict[str, Range] = Field(
        default_factory=dict,
        description="by dotted setting what `bench tune --samples` draws from: `low`, `high` and, "
        "if they are so, `scale: log` and `whole: true`; or a list of values",
    )
    teacher: str = Field("text", description="teacher of a run that chooses none")


def read_method(entry: MethodEntry, workspace: Workspace) -> MethodFile:
    """The file of a method; an empty one where there is none.

    Raises:
        ConfigError: it cannot be understood.
    """
    if entry.name not in layers.names("methods", workspace):
        return MethodFile()
    return layers.load(MethodFile, "methods", entry.name, workspace)
