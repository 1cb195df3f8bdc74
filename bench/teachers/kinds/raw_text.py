"""Teacher kind `raw-text`: the sentence encoder's vectors alone, nothing trained.

The control beside `text`: a method that gains as much from it owes nothing to a teacher.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel

from bench.data.examples import Examples, PreparedData
from bench.evaluation.metrics import TargetRanks, split_metrics
from bench.evaluation.ranking import RankedBlocks, SeenItems
from bench.teachers.builder import Builder, Product
from bench.teachers.recipe import TEXTS, texts_hash
from bench.teachers.registry import register_teacher
from bench.teachers.rows import blocks
from bench.teachers.texts import TextVectorOptions, text_vectors


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
        seen = SeenItems.of(data.sequences, torch.device("cpu"))
        test = similarity_ranks(vectors, data.test, seen)
        return Product(
            embeddings=vectors,
            test_ranks=test.ranked,
            masked_test_ranks=test.masked,
            metrics=split_metrics(valid=similarity_ranks(vectors, data.valid, seen), test=test),
            recipe={
                TEXTS: texts_hash(data),
                "own_ranking": "cosine between the texts of the last item and of each item",
            },
            notes=[
                "Untrained text vectors: a control, with no knowledge of any interaction.",
                *options.notes,
            ],
        )


def similarity_ranks(
    vectors: NDArray[np.float32], rows: Examples, seen: SeenItems | None = None
) -> TargetRanks:
    """Ranks of the targets by similarity to the history's last item.

    Args:
        vectors: unit vectors [N, D].
        rows: R rows.
        seen: what users had before, on the CPU, where it is known.
    """
    ranked = RankedBlocks(seen)
    for _, block in blocks(rows, "cpu"):
        last = block.history.gather(1, block.length.unsqueeze(1) - 1)[:, 0].numpy()
        ranked.add(torch.from_numpy(vectors[last - 1] @ vectors.T), block, consume=True)
    return ranked.found()
