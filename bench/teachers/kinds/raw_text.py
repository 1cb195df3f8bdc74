"""Teacher kind `raw-text`: the sentence encoder's vectors alone, nothing trained.

The control beside `text`: a method that gains as much from it owes nothing to a teacher.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from bench.data.examples import Examples, PreparedData
from bench.evaluation.metrics import metrics_from_ranks
from bench.teachers.builder import Builder, Product
from bench.teachers.recipe import TEXTS, texts_hash
from bench.teachers.registry import register_teacher
from bench.teachers.texts import TextVectorOptions, text_vectors

BLOCK = 1024


@register_teacher(
    "raw-text",
    signals={"embeddings"},
    twins={"random": {"encoder": "random"}, "shuffled": {"texts": "shuffled"}},
)
class RawTextTeacher(Builder):
    """Builder of the kind `raw-text`."""

    Options: ClassVar[type[BaseModel]] = TextVectorOptions

    @staticmethod
    def build(
        options: TextVectorOptions,
        data: PreparedData,
        cache: Path,
        device: str,
    ) -> Product:
        """Encode the texts; as a recommender it ranks by cosine to the last item's text."""
        vectors = text_vectors(data, options, cache, device)
        test_ranks = similarity_ranks(vectors, data.test)
        return Product(
            embeddings=vectors,
            test_ranks=test_ranks,
            metrics={
                "valid": metrics_from_ranks(similarity_ranks(vectors, data.valid)),
                "test": metrics_from_ranks(test_ranks),
            },
            recipe={
                TEXTS: texts_hash(data),
                "own_ranking": "cosine between the texts of the last item and of each item",
            },
            notes=[
                "Untrained text vectors: a control, with no knowledge of any interaction.",
                *options.notes,
            ],
        )


def similarity_ranks(vectors: NDArray[np.float32], rows: Examples) -> NDArray[np.int32]:
    """Rank of each target by similarity to the history's last item; ties count against it.

    Args:
        vectors: unit vectors [N, D].
        rows: R rows.

    Returns:
        int32 [R], 1..N.
    """
    last = rows.history[np.arange(len(rows)), rows.length - 1]
    ranks = np.empty(len(rows), dtype=np.int32)
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        scores = vectors[last[part] - 1] @ vectors.T
        own = np.take_along_axis(scores, rows.target[part, None].astype(np.int64) - 1, axis=1)
        ranks[part] = (scores >= own).sum(1)
    return ranks
