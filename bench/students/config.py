"""Typed configuration of students (imports no torch)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Objective = Literal["ce", "bpr", "bce", "dros"]


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
