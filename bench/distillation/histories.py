"""The examples of a batch as vectors: the student's of their histories beside the teacher's."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from bench.distillation import Batch, Knowledge, Method, Output
from bench.distillation.entities import ItemConfig, ItemVectors, teacher_table


class EntityConfig(ItemConfig):
    """Settings of the methods that compare vectors of items and, as an option, of histories."""

    users: bool = Field(
        False, description="compare vectors of histories too; the teacher must offer `histories`"
    )


class EntityMethod(Method):
    """Base of the methods that compare vectors of items and, as an option, of histories."""

    @classmethod
    def signals(cls, config: Any) -> frozenset[str]:
        return cls.needs | ({"histories"} if config.users else set())


class HistoryVectors:
    """What a method compares of the examples of a batch: a vector of each one's history."""

    def __init__(self, teacher: Tensor, covered: Tensor) -> None:
        """Args: teacher: float32 [R, D]; covered: bool [R], False where that is filler."""
        self.teacher = teacher
        self.covered = covered

    @property
    def width(self) -> int:
        """Size of the teacher's vectors, D at most."""
        return self.teacher.shape[1]

    def take(self, batch: Batch, output: Output) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors of the B examples of a step.

        Returns:
            the student's float32 [B, d], its encoded histories; the teacher's float32 [B, D]; and
            bool [B], False where the teacher has none and both vectors are zero.
        """
        present = self.covered[batch.row_id]
        student = output.hidden.masked_fill(~present.unsqueeze(1), 0.0)
        return student, self.teacher[batch.row_id], present


def history_vectors(knowledge: Knowledge, config: EntityConfig) -> HistoryVectors | None:
    """The teacher's histories, prepared as its items are; None where `config` leaves them out."""
    if not config.users:
        return None
    assert knowledge.histories is not None  # noqa: S101 - guaranteed by `signals`
    covered = _covered(knowledge, knowledge.histories)
    return _placed(_prepared(knowledge.histories[covered], config), covered)


def entity_vectors(
    knowledge: Knowledge, config: EntityConfig
) -> tuple[ItemVectors, HistoryVectors | None]:
    """The teacher's items and histories in one space, so that they can be compared.

    With histories both are standardised, and projected to principal components, together.

    Raises:
        ValueError: items and histories have vectors of different size.
    """
    assert knowledge.embeddings is not None  # noqa: S101 - guaranteed by `needs`
    if not config.users:
        return ItemVectors(knowledge.embeddings, config), None
    assert knowledge.histories is not None  # noqa: S101 - guaranteed by `signals`
    covered = _covered(knowledge, knowledge.histories)
    items, histories = knowledge.embeddings[1:], knowledge.histories[covered]
    if items.shape[1] != histories.shape[1]:
        raise ValueError(
            f"items and histories are compared with one another, and the teacher's vectors have "
            f"{items.shape[1]} dimensions for items and {histories.shape[1]} for histories: set "
            "users to false, or take a teacher that has both in one space"
        )
    together = _prepared(torch.cat([items, histories]), config)
    as_it_is = config.model_copy(update={"normalise": "none", "pca_dim": None})
    padded = torch.nn.functional.pad(together[: len(items)], (0, 0, 1, 0))
    return ItemVectors(padded, as_it_is), _placed(together[len(items) :], covered)


def _prepared(vectors: Tensor, config: EntityConfig) -> Tensor:
    """Vectors [X, D] as `teacher_table` makes them of a table with a row for padding."""
    padded = torch.nn.functional.pad(vectors, (0, 0, 1, 0))
    return teacher_table(padded, config.normalise, config.pca_dim)[1:]


def _covered(knowledge: Knowledge, histories: Tensor) -> Tensor:
    """The examples of which the teacher has a vector: bool [R]."""
    if knowledge.covered is not None:
        return knowledge.covered
    return torch.ones(len(histories), dtype=torch.bool, device=histories.device)


def _placed(vectors: Tensor, covered: Tensor) -> HistoryVectors:
    """Vectors of the covered examples in their rows, zeros in the others."""
    table = vectors.new_zeros(len(covered), vectors.shape[1])
    table[covered] = vectors
    return HistoryVectors(table, covered)
