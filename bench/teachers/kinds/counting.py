"""Teacher kind `counting`: a baseline teaches, by counts or by linear algebra.

The control beside every teacher that reads more than interactions: where a student gains as much
from lists that a count makes, it did not need a language model for them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, PositiveInt, ValidationError, model_validator
from scipy import sparse
from scipy.sparse.linalg import svds

from bench.baselines.counts import consumed
from bench.baselines.interface import BASELINES, Baseline
from bench.data.examples import Examples, PreparedData
from bench.errors import BenchError
from bench.teachers.builder import Builder, Product
from bench.teachers.recommenders.members import BaselineMember
from bench.teachers.recommenders.teaching import TeachingOptions, teaching
from bench.teachers.registry import register_teacher


class CountingOptions(TeachingOptions):
    """Options of the kind `counting`."""

    baseline: str = Field(description="name of the baseline that teaches, such as `item-knn`")
    parameters: dict[str, Any] = Field(default_factory=dict, description="of the baseline")
    width: PositiveInt = Field(64, description="D, size of the item vectors")

    @model_validator(mode="after")
    def _the_baseline_knows_its_parameters(self) -> CountingOptions:
        try:
            _ = self.unfitted
        except (BenchError, ValidationError) as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def unfitted(self) -> Baseline:
        """The baseline before it is fitted."""
        kind = BASELINES.load(self.baseline)
        return kind(kind.Config.model_validate(self.parameters))


@register_teacher("counting", signals={"embeddings", "rankings", "confidence", "truth-distance"})
class CountingTeacher(Builder):
    """Builder of the kind `counting`."""

    Options: ClassVar[type[BaseModel]] = CountingOptions

    @staticmethod
    def build(options: CountingOptions, data: PreparedData, cache: Path, device: str) -> Product:
        """Fit the baseline to the training examples, and list its best items for each of them."""

        def train(rows: Examples) -> BaselineMember:
            return BaselineMember(options.baseline, options.unfitted.fit(rows, data.n_items))

        product, _ = teaching(train, data, options, device)
        return replace(
            product,
            embeddings=item_vectors(data.train, data.n_items, options.width),
            recipe=product.recipe
            | {"embeddings": "users' consumption as unit columns, in its first singular vectors"},
            notes=[
                *product.notes,
                "It counts what the student sees: a control, with no other source of knowledge.",
            ],
        )


def item_vectors(examples: Examples, n_items: int, width: int) -> NDArray[np.float32]:
    """Vectors whose inner products come nearest to the cosines of items that users consumed.

    With A [U, N] the columns of `consumed` at length 1, the cosines that `item-knn` counts are
    A^T A. The first D singular vectors of A = P S Q^T make Q S, which comes nearest to them
    (PureSVD, Cremonesi et al., RecSys 2010). The sign of a dimension is arbitrary: its largest
    entry is made positive.

    Returns:
        float32 [N, D], zeros for items that nobody consumed; D at most `width`, and less than U, N.
    """
    table = consumed(examples, n_items).astype(np.float64)
    lengths = np.sqrt(np.asarray(table.sum(axis=0)).ravel())
    columns = table @ sparse.diags(1 / np.maximum(lengths, 1.0))
    count = min(width, min(columns.shape) - 1)
    start = np.random.default_rng(0).standard_normal(min(columns.shape))
    _, strength, axes = svds(columns, count, v0=start)
    vectors = (axes * strength[:, None])[::-1].T
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    return np.ascontiguousarray(vectors * np.sign(largest), dtype=np.float32)
