"""A teacher's scores of any items: as far as its lists tell them, or of all from its vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor

from bench.distillation import Batch, Knowledge, Method, MethodConfig, Output
from bench.distillation.lists import TeacherLists, standardised_scores

ScoreSource = Literal["listed", "product", "distance"]
"""Where scores are from: the list; or a row's vector q and those of items, q . z or -|q - z|."""


class ScoredConfig(MethodConfig):
    """Settings of the methods that can learn from the teacher's score of every item."""

    scores: ScoreSource = Field(
        "listed", description="the teacher's: of its list, or of all items from its vectors"
    )


class ScoredMethod(Method):
    """Base of those methods: lists, or `histories` and `embeddings` in place of them."""

    @classmethod
    def signals(cls, config: Any) -> frozenset[str]:
        return cls.needs if config.scores == "listed" else frozenset({"histories", "embeddings"})


class RowScores(Protocol):
    """The teacher's scores of B rows, with mean 0 and standard deviation 1 in each."""

    def top(self, k: int) -> Tensor:
        """The best items of every row, int64 [B, at most k], best first."""

    def at(self, ids: Tensor) -> Tensor:
        """Scores float32 [B, K] of the items `ids` [B, K]."""

    def all(self) -> Tensor:
        """Scores float32 [B, N] of all items, id 1 in column 0."""


@dataclass(frozen=True, eq=False)
class ListedScores:
    """Scores of lists; all other items share a floor.

    The floor is one standard deviation below the last item of the list.

    Attributes:
        ids: int64 [B, K_T], the lists, best first.
        distances: float32 [B, K_T], of their items.
        n_items: N.
    """

    ids: Tensor
    distances: Tensor
    n_items: int

    def top(self, k: int) -> Tensor:
        return self.ids[:, :k]

    def at(self, ids: Tensor) -> Tensor:
        listed, order = self.ids.sort(dim=1)
        place = torch.searchsorted(listed, ids.contiguous()).clamp(max=listed.shape[1] - 1)
        known = self._scores.gather(1, order).gather(1, place)
        return known.where(listed.gather(1, place) == ids, self._floor)

    def all(self) -> Tensor:
        everything = self._floor.repeat(1, self.n_items)
        return everything.scatter_(1, self.ids - 1, self._scores)

    @cached_property
    def _scores(self) -> Tensor:
        return standardised_scores(self.distances)

    @property
    def _floor(self) -> Tensor:
        return self._scores[:, -1:] - 1.0


@dataclass(frozen=True, eq=False)
class FullScores:
    """Scores of every item.

    Attributes:
        values: float32 [B, N], id 1 in column 0.
    """

    values: Tensor

    def top(self, k: int) -> Tensor:
        return self.values.topk(min(k, self.values.shape[1]), dim=1).indices + 1

    def at(self, ids: Tensor) -> Tensor:
        return self.values.gather(1, ids - 1)

    def all(self) -> Tensor:
        return self.values


def teacher_scores(knowledge: Knowledge, source: ScoreSource) -> Callable[[Tensor], RowScores]:
    """What makes the scores of the rows `row_id` [B]; a step asks once.

    Args:
        knowledge: the signals of a `ScoredMethod` with this source.
        source: as `ScoreSource` says.

    Raises:
        ValueError: vectors of histories and of items are of different size.
    """
    if source == "listed":
        rankings, distances = knowledge.rankings, knowledge.distances
        assert rankings is not None and distances is not None  # noqa: S101 - guaranteed by `signals`
        n_items = len(knowledge.target_counts) - 1
        return lambda row_id: ListedScores(rankings[row_id], distances[row_id], n_items)
    histories, embeddings = knowledge.histories, knowledge.embeddings
    assert histories is not None and embeddings is not None  # noqa: S101 - guaranteed by `signals`
    if histories.shape[1] != embeddings.shape[1]:
        raise ValueError(
            f"the teacher's histories have {histories.shape[1]} dimensions and its embeddings "
            f"{embeddings.shape[1]}: they are of two spaces, which make no scores"
        )
    items = embeddings[1:]

    def full(row_id: Tensor) -> FullScores:
        queries = histories[row_id]
        distances = torch.cdist(queries, items) if source == "distance" else -(queries @ items.T)
        return FullScores(standardised_scores(distances))

    return full


class ScoredItems:
    """The items that distributions of a row are over: the first of its list, or the catalogue."""

    def __init__(
        self, knowledge: Knowledge, source: ScoreSource, top_k: int, *, standardise: bool = True
    ) -> None:
        """Take what a source needs; without `standardise` scores of lists are -distance."""
        self.standardise = standardise
        self.is_whole = source != "listed"
        n_items = len(knowledge.target_counts) - 1
        if self.is_whole:
            self.items = torch.arange(1, n_items + 1, device=knowledge.target_counts.device)
            self.scores = teacher_scores(knowledge, source)
            return
        assert knowledge.rankings is not None  # noqa: S101 - guaranteed by `signals`
        assert knowledge.distances is not None  # noqa: S101 - guaranteed by `signals`
        self.items = knowledge.rankings[:, :top_k]
        self.distances = knowledge.distances[:, :top_k]

    @property
    def count(self) -> int:
        """How many items a row has."""
        return self.items.shape[-1]

    def take(self, batch: Batch, output: Output) -> tuple[Tensor, Tensor, Tensor]:
        """Items int64 [B, K], or [N] of all; the student's scores and the teacher's, [B, K]."""
        if self.is_whole:
            return self.items, output.logits[:, 1:], self.scores(batch.row_id).all()
        items, distances = self.items[batch.row_id], self.distances[batch.row_id]
        teacher = standardised_scores(distances) if self.standardise else -distances
        return items, output.scores(items), teacher


class FullLists(TeacherLists):
    """Lists as long as they are asked for, of the items with the best scores."""

    def __init__(self, knowledge: Knowledge, source: ScoreSource, **excluded: bool) -> None:
        """Args: excluded: `exclude_target` and `exclude_history`, as of `TeacherLists`."""
        super().__init__(knowledge, **excluded)
        self.scores = teacher_scores(knowledge, source)

    def listed(self, row_id: Tensor, count: int) -> Tensor:
        return self.scores(row_id).top(count)
