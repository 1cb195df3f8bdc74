"""Teacher kind `text`: a frozen sentence encoder under a content-only two-tower recommender.

It stands in for an LLM teacher where none is at hand: it knows what the items are called, which
an id-based student does not. Its lists and points come from `tower.Towers`, trained by full-softmax
cross entropy on exactly the training examples and histories that the student sees.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, PositiveInt
from torch import Tensor

from bench.teachers.registry import register_teacher
from bench.teachers.towers.tower import Towers
from bench.teachers.towers.tower_teacher import TowerOptions, TowerTeacher


class TextOptions(TowerOptions):
    """Options of the kind `text`."""

    width: PositiveInt = Field(128, description="size D of the item points and queries")
    feed_forward: PositiveInt = Field(256, description="hidden size of the block's MLP")


@register_teacher(
    "text",
    signals={"embeddings", "rankings", "confidence", "truth-distance"},
    optional={"histories"},
    twins={"random": {"encoder": "random"}, "shuffled": {"texts": "shuffled"}},
)
class TextTeacher(TowerTeacher):
    """Builder of the kind `text`."""

    Options = TextOptions

    @classmethod
    def network(cls, texts: Tensor, length: int, options: TextOptions, **known: Any) -> Towers:
        return Towers(
            texts,
            length=length,
            width=options.width,
            heads=options.heads,
            feed_forward=options.feed_forward,
            dropout=options.dropout,
        )
