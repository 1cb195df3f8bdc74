"""The interface of a distillation method, and the numeric kernels that methods share."""

from bench.distillation.interface import (
    Batch,
    Fusion,
    Knowledge,
    Method,
    MethodConfig,
    Objective,
    Output,
    PromptedStudent,
    Stage,
    Student,
    TrainingRows,
)

__all__ = [
    "Batch",
    "Fusion",
    "Knowledge",
    "Method",
    "MethodConfig",
    "Objective",
    "Output",
    "PromptedStudent",
    "Stage",
    "Student",
    "TrainingRows",
]
