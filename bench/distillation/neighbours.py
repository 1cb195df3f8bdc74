"""Rows and items that a teacher finds alike."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from bench.distillation import Knowledge, Method, MethodConfig
from bench.distillation.entities import teacher_table

Meaning = Literal["mean", "histories"]
"""What stands for a history: the mean of its items' vectors, or the teacher's own vector of it."""

CHUNK = 256
"""Vectors compared with all others at a time."""


class SimilarityConfig(MethodConfig):
    """Settings of the methods that look for similar histories."""

    similarity: Meaning = Field(
        "mean", description="of histories: by the mean of their items, or the teacher's own"
    )


class SimilarityMethod(Method):
    """Base of the methods that look for similar histories."""

    @classmethod
    def signals(cls, config: Any) -> frozenset[str]:
        return cls.needs | ({"histories"} if config.similarity == "histories" else set())


def meanings(knowledge: Knowledge, of: Meaning) -> Tensor:
    """What the teacher makes of the history of every training example, float32 [R, D].

    Args:
        knowledge: `histories`, or `embeddings` and `rows`.
        of: `histories` are the teacher's own, `mean` those of the history's items; both are
            standardised per dimension first.
    """
    if of == "histories":
        assert knowledge.histories is not None  # noqa: S101 - guaranteed by `signals`
        return teacher_table(F.pad(knowledge.histories, (0, 0, 1, 0)), "standardise", None)[1:]
    assert knowledge.embeddings is not None  # noqa: S101 - guaranteed by `needs`
    assert knowledge.rows is not None  # noqa: S101 - there in every trial
    table = teacher_table(knowledge.embeddings, "standardise", None)
    return F.embedding_bag(knowledge.rows.history, table, mode="mean", padding_idx=0)


@torch.no_grad()
def nearest(vectors: Tensor, group: Tensor, count: int) -> Tensor:
    """For each vector the most similar ones of other groups, by cosine, best first.

    Args:
        vectors: float [M, D].
        group: int64 [M]; vectors of one group are no neighbours of each other.
        count: neighbours wanted.

    Returns:
        int64 [M, count], indices of vectors; fewer columns where one group leaves fewer.

    Raises:
        ValueError: all vectors are of one group.
    """
    left = len(group) - int(group.unique(return_counts=True)[1].max())
    if left == 0:
        raise ValueError("there are no neighbours: all training rows are of one user")
    directions = F.normalize(vectors, dim=1)
    found = []
    for part, own in zip(directions.split(CHUNK), group.split(CHUNK), strict=True):
        likeness = part @ directions.T
        likeness.masked_fill_(own.unsqueeze(1) == group, -torch.inf)
        found.append(likeness.topk(min(count, left), dim=1).indices)
    return torch.cat(found)


def nearest_items(embeddings: Tensor, count: int) -> Tensor:
    """The most similar other items of every item, int64 [N + 1, count]; row 0 is padding, all 0.

    Args:
        embeddings: float32 [N + 1, D]; compared after standardising per dimension.
        count: at most N - 1 are there.
    """
    vectors = teacher_table(embeddings, "standardise", None)[1:]
    own = torch.arange(len(vectors), device=vectors.device)
    return F.pad(nearest(vectors, own, count) + 1, (0, 0, 1, 0))
