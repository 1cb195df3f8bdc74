"""Options of a conventional recommender."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench import layers
from bench.baselines.interface import BASELINES, Baseline
from bench.errors import ConfigError
from bench.paths import Workspace
from bench.students import properties
from bench.students.config import StudentConfig, read_student
from bench.training.config import TrainingConfig

FITTED = {entry.class_name: entry.name for entry in BASELINES}
"""Baselines by the names of their classes, as RecBole's models are named."""


class MemberOptions(BaseModel):
    """One recommender."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(description=f"RecBole sequential model, or one of {', '.join(FITTED)}")
    parameters: dict[str, Any] = Field(default_factory=dict, description="of the model")
    training: TrainingConfig | None = Field(None, description="of a RecBole model")

    @model_validator(mode="after")
    def _the_model_knows_its_parameters(self) -> MemberOptions:
        try:
            if self.model in FITTED:
                _ = self.baseline
            else:
                properties.check(self.student)
        except (ConfigError, ValidationError) as error:
            raise ValueError(str(error)) from error
        if (self.training is None) != (self.model in FITTED):
            raise ValueError(f"{self.model} needs {'no ' * (self.model in FITTED)}'training'")
        if self.training is not None and self.training.selection != "validation":
            raise ValueError("states are chosen on training rows, never with test rows")
        return self

    @property
    def baseline(self) -> Baseline:
        """A baseline that is not fitted yet."""
        kind = BASELINES.load(FITTED[self.model])
        return kind(kind.Config.model_validate(self.parameters))

    @property
    def student(self) -> StudentConfig:
        """A RecBole model's own configuration."""
        return StudentConfig(model=self.model, parameters=self.parameters)


def student_options(name: str, dataset: str, workspace: Workspace) -> dict[str, Any]:
    """A student's model, parameters and training for a dataset, as `MemberOptions` takes them.

    Raises:
        UnknownNameError: there is no such student.
    """
    file = read_student(name, workspace)
    tuned = file.datasets.get(dataset)
    own = file.model_dump(include={"model", "parameters", "training"})
    return layers.merge(own, tuned.model_dump() if tuned else {})
