"""Teacher kind `text-neighbours`: lists of the items whose texts are like the last item's.

`raw-text` for methods that read lists: nothing is trained, and no interaction is known but the
history that a list is for.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import torch
from pydantic import BaseModel, Field, PositiveInt
from torch import Tensor

from bench.data.examples import PreparedData
from bench.teachers.builder import Builder, Product
from bench.teachers.kinds.raw_text import RawTextTeacher
from bench.teachers.lists import Lists
from bench.teachers.registry import register_teacher
from bench.teachers.rows import blocks, list_length, preference, unseen
from bench.teachers.texts import TextVectorOptions


class TextNeighboursOptions(TextVectorOptions):
    """Options of the kind `text-neighbours`."""

    list_length: PositiveInt = Field(100, description="K_T, items listed per training row")


@register_teacher(
    "text-neighbours",
    signals={"embeddings", "rankings", "confidence", "truth-distance"},
    twins={"random": {"encoder": "random"}, "shuffled": {"texts": "shuffled"}},
)
class TextNeighboursTeacher(Builder):
    """Builder of the kind `text-neighbours`."""

    Options: ClassVar[type[BaseModel]] = TextNeighboursOptions

    @staticmethod
    def build(
        options: TextNeighboursOptions, data: PreparedData, cache: Path, device: str
    ) -> Product:
        """What `raw-text` says of items, and the items nearest to the last one of each history."""
        product = RawTextTeacher.build(options, data, cache, device)
        vectors = torch.from_numpy(product.embeddings).to(device)
        lists = _nearest(vectors, data, options.list_length)
        return replace(
            product,
            rankings=lists.ids,
            distances=lists.distances,
            truth_distance=lists.truth,
            recipe=product.recipe
            | {
                "list_policy": "the row's history is left out, also where it holds the target",
                "distance": "L2 between the unit vectors of the last item and of each item",
            },
        )


def _nearest(vectors: Tensor, data: PreparedData, size: int) -> Lists:
    """The items nearest to the last one of every training row, by unit vectors [N, D]."""
    size = list_length(data.train, len(vectors), size, keep_target=False)
    place = torch.from_numpy(preference(data).argsort()).to(vectors.device)  # where texts tie
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for _, block in blocks(data.train, vectors.device):
        last = block.history.gather(1, block.length[:, None] - 1)[:, 0]
        cosines = vectors[last - 1] @ vectors.T
        ids = unseen(cosines, block.history).topk(size).indices
        ids = ids.gather(1, place[ids - 1].argsort(dim=1))
        best, order = cosines.gather(1, ids - 1).sort(dim=1, descending=True, stable=True)
        ids = ids.gather(1, order)
        truth = cosines.gather(1, block.target[:, None] - 1)[:, 0]
        parts.append((ids.int().cpu(), _distance(best).cpu(), _distance(truth).cpu()))
    return Lists(*(torch.cat(column).numpy() for column in zip(*parts, strict=True)))


def _distance(cosines: Tensor) -> Tensor:
    return (2 - 2 * cosines).clamp_min(0).sqrt()
