"""Teacher kind `self`: the student itself, trained without a teacher, teaches the next one.

Born-again networks (Furlanello et al., ICML 2018), first generation. The control that tells what a
teacher knows from what any trained model would: loss by loss the same, with another teacher.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from bench import layers
from bench.data.examples import Examples, PreparedData
from bench.errors import ConfigError
from bench.paths import Workspace
from bench.progress import task
from bench.students.adapter import Adapter
from bench.teachers.builder import Builder, Product
from bench.teachers.recommenders.members import Trained, untrained
from bench.teachers.recommenders.options import MemberOptions, student_options
from bench.teachers.recommenders.teaching import TeachingOptions, teaching
from bench.teachers.registry import register_teacher
from bench.teachers.rows import blocks


class SelfOptions(TeachingOptions):
    """Options of the kind `self`."""

    student: str = Field(description="name of the student that teaches; set by the teacher's name")
    recommender: MemberOptions = Field(
        description="what it is trained as; what is left out is as the student's file says"
    )
    histories: bool = Field(
        False, description="export its vectors of the training histories as well"
    )

    @model_validator(mode="after")
    def _it_is_trained(self) -> SelfOptions:
        if self.recommender.training is None:
            raise ValueError(f"'recommender' ({self.recommender.model}) is no student")
        if self.histories and self.out_of_fold is not None:
            raise ValueError(
                "'histories' are vectors of one model that learned from all rows: with "
                "'out_of_fold' it must not tell of a row that it learned from (set it to null)"
            )
        return self


@register_teacher(
    "self",
    signals={"embeddings", "rankings", "confidence", "truth-distance"},
    optional={"histories"},
    per_student=True,
)
class SelfTeacher(Builder):
    """Builder of the kind `self`."""

    Options: ClassVar[type[BaseModel]] = SelfOptions

    @staticmethod
    def complete(options: dict[str, Any], dataset: str, workspace: Workspace) -> dict[str, Any]:
        """Take model, parameters and training from the student's file."""
        own = options.get("recommender", {})
        if "student" not in options:
            raise ConfigError(
                "a teacher of the kind 'self' is that of one student, whose name follows its own, "
                "as in --teacher self-sasrec"
            )
        if not isinstance(own, Mapping):
            return options  # a mistake, told when the options are validated
        student = student_options(options["student"], dataset, workspace)
        return options | {"recommender": layers.merge(student, own)}

    @staticmethod
    def build(options: SelfOptions, data: PreparedData, cache: Path, device: str) -> Product:
        """Train the student under `none`, once on all rows and once for each fold."""
        trainings = 1 + (options.out_of_fold.folds if options.out_of_fold else 0)
        started = 0

        def train(rows: Examples) -> Trained:
            nonlocal started
            started += 1
            with task(f"{options.student} ({started} of {trainings})"):
                return _trained(options, rows, data, device)

        with torch.random.fork_rng():
            product, whole = teaching(train, data, options, device)
        assert isinstance(whole, Trained)  # noqa: S101 - `train` made it
        student = whole.student
        return replace(
            product,
            embeddings=student.keys()[1:].detach().cpu().numpy(),
            histories=_queries(student, data.train, device) if options.histories else None,
            notes=[
                *product.notes,
                "It is the student itself, trained without a teacher from another seed: a control. "
                "Validation rows chose its epochs.",
            ],
        )


def _trained(options: SelfOptions, rows: Examples, data: PreparedData, device: str) -> Trained:
    """The student after a training on `rows`, in the epoch that validation rows choose."""
    chosen = options.recommender
    assert chosen.training is not None  # noqa: S101 - validated
    sizes = (data.n_items, data.n_users)
    member = untrained(options.student, chosen.student, chosen.training, rows, *sizes, options.seed)
    member.train(rows, data.valid, data.n_items, device)
    member.load(member.states[-1])
    return member


@torch.no_grad()
def _queries(student: Adapter, rows: Examples, device: str) -> NDArray[np.float32]:
    """The encoded histories, whose inner products with the embeddings are scores: [R, d']."""
    parts = [
        student.queries(student.encode(block.history, block.length, block.user)).cpu()
        for _, block in blocks(rows, device)
    ]
    return torch.cat(parts).numpy()
