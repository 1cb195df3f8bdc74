"""Typed configuration of training (imports no torch)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from bench.errors import UnknownNameError
from bench.evaluation.metrics import metric_names

ObjectiveName = Literal["ce", "bpr", "bce", "dros", "sampled-ce", "gbce", "cloze"]
Precision = Literal["float32", "tf32", "bf16"]

_BEFORE = {
    "negatives": 256,
    "proposal": "uniform",
    "calibration": 0.75,
    "positions": "last",
    "checkpointing": False,
    "precision": "float32",
    "cuda_graphs": False,
    "seen": "score",
    "min_delta": 0.0,
    "validation_rows": None,
}
"""What held before a setting existed."""


class TrainingConfig(BaseModel):
    """How one student is trained; the same for every method of a cell."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    objective: ObjectiveName = Field("ce", description="base loss (docs/training.md, 'Objectives')")
    learning_rate: PositiveFloat = Field(1e-3, description="step size of Adam")
    batch_size: PositiveInt = Field(512, description="rows per step")
    positions: Literal["last", "half", "all"] = Field(
        "last",
        description="where a history is read: at its end, for one row, or at the later half of its "
        "positions or all of them, for as many rows (docs/training.md, 'Many positions at once')",
    )
    checkpointing: bool = Field(
        False,
        description="keep the encoder's activations for few rows at a time and make them again in "
        "the backward pass: less memory, more time (docs/training.md, 'Large batches')",
    )
    precision: Precision = Field(
        "float32",
        description="of training's matrix products: all float32; `tf32`, where a CUDA device takes "
        "float32 factors in TF32; `bf16`, bfloat16 factors in the encoder and the softmax over the "
        "catalogue. Evaluation is float32 (docs/training.md, 'Precision')",
    )
    cuda_graphs: bool = Field(
        False,
        description="record a training step as a CUDA graph and replay it; the same operations, "
        "launched at once (docs/training.md, 'On a GPU')",
    )
    seen: Literal["score", "mask"] = Field(
        "score",
        description="whether the items of a row's history, but its target, are part of the softmax "
        "of training and of robust terms, or left out (docs/training.md, 'Seen items')",
    )
    weight_decay: NonNegativeFloat = Field(0.0, description="L2 coefficient of Adam")
    max_epochs: PositiveInt = Field(100, description="upper bound of passes over the rows")
    min_epochs: PositiveInt = Field(8, description="passes before early stopping may act")
    patience: PositiveInt = Field(5, description="passes without a better validation metric")
    min_delta: NonNegativeFloat = Field(
        0.0,
        description="least gain of the validation metric that counts as a better one for patience; "
        "the best epoch is kept whatever it gains",
    )
    select: str = Field("ndcg@20", description="validation metric that chooses the epoch")
    validation_rows: PositiveInt | None = Field(
        None,
        description="how many rows of validation are ranked after an epoch, drawn once and the "
        "same for all methods and seeds; null: all. The record's metrics are of all rows",
    )
    selection: Literal["validation", "oracle"] = Field(
        "validation",
        description="split that chooses the epoch; `oracle` is the test split, as a published "
        "program does, and is never reported beside honest rows",
    )
    dros_weight: NonNegativeFloat = Field(
        0.5, description="weight of the robust term under the objective dros (DLLM2Rec, SASRec)"
    )
    dros_temperature: PositiveFloat = Field(1.0, description="beta of the robust term")
    negatives: PositiveInt = Field(
        256, description="items that a batch shares as negatives under sampled-ce and gbce"
    )
    proposal: Literal["uniform", "in-batch"] = Field(
        "uniform",
        description="where negatives of sampled-ce come from: draws from the catalogue, or the "
        "targets of the batch",
    )
    calibration: float = Field(
        0.75, ge=0, le=1, description="t of gbce: 0 is bce, 1 undoes what sampling exaggerates"
    )

    @field_validator("select")
    @classmethod
    def _one_of_those_computed(cls, value: str) -> str:
        name = value.strip().lower()
        if name not in metric_names():
            raise ValueError(str(UnknownNameError("metric", name, metric_names())))
        return name

    @model_serializer(mode="wrap")
    def _later_choices_where_made(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Trials keep the keys that they had before there was a choice.
        content: dict[str, Any] = handler(self)
        later = {key for key, before in _BEFORE.items() if content[key] == before}
        return {key: value for key, value in content.items() if key not in later}

    @model_validator(mode="after")
    def _one_way_of_encoding(self) -> TrainingConfig:
        if self.checkpointing and self.positions != "last":
            raise ValueError(
                f"checkpointing is for positions=last, not {self.positions}, which takes less "
                "memory as it is"
            )
        return self

    @model_validator(mode="after")
    def _steps_that_can_be_recorded(self) -> TrainingConfig:
        if self.cuda_graphs and self.positions != "last":
            raise ValueError(
                f"cuda_graphs is for positions=last, not {self.positions}, whose batches differ "
                "in size"
            )
        if self.cuda_graphs and self.checkpointing:
            raise ValueError(
                "cuda_graphs and checkpointing exclude each other: what checkpointing repeats "
                "cannot be recorded"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _no_more_at_least_than_at_most(cls, given: Any) -> Any:
        # Whoever asks for fewer passes than the least that is usual means just these.
        if not isinstance(given, Mapping) or "min_epochs" in given or "max_epochs" not in given:
            return given
        at_most, usual = given["max_epochs"], cls.model_fields["min_epochs"].default
        fewer = isinstance(at_most, int) and 0 < at_most < usual
        return {**given, "min_epochs": at_most} if fewer else given

    @model_validator(mode="after")
    def _negatives_that_are_drawn(self) -> TrainingConfig:
        if self.proposal == "in-batch" and self.objective != "sampled-ce":
            raise ValueError(
                f"proposal=in-batch is for objective=sampled-ce, which corrects for it; "
                f"{self.objective} takes uniform"
            )
        return self

    @model_validator(mode="after")
    def _epochs_in_order(self) -> TrainingConfig:
        if self.min_epochs > self.max_epochs:
            raise ValueError(
                f"min_epochs ({self.min_epochs}) exceeds max_epochs ({self.max_epochs})"
            )
        return self
