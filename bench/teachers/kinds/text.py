"""Teacher kind `text`: a frozen sentence encoder under a content-only two-tower recommender.

It stands in for an LLM teacher where none is at hand: it knows what the items are called, which
an id-based student does not. Its lists and points come from `tower.Towers`, trained on exactly
the training rows and histories that the student sees.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import torch
from pydantic import BaseModel, Field, PositiveInt, model_validator
from torch import Tensor

from bench.data.rows import PreparedData, Rows
from bench.teachers.build import Product
from bench.teachers.kinds.fitting import Fitted, Progress, fit, full_softmax
from bench.teachers.kinds.members import Member
from bench.teachers.kinds.tower import Towers, TwoTowers
from bench.teachers.kinds.tower_teacher import TowerOptions, product_of, text_vectors, validation


class TextOptions(TowerOptions):
    """Options of the kind `text`."""

    width: PositiveInt = Field(128, description="size D of the item points and queries")
    heads: PositiveInt = Field(4, description="attention heads; divides the width")
    feed_forward: PositiveInt = Field(256, description="hidden size of the block's MLP")

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> TextOptions:
        if self.width % self.heads:
            raise ValueError(f"'heads' ({self.heads}) must divide 'width' ({self.width})")
        return self


class TextTeacher:
    """Builder of the kind `text`."""

    Options: ClassVar[type[BaseModel]] = TextOptions

    @staticmethod
    def build(
        options: TextOptions, data: PreparedData, cache: Path, device: str, progress: Progress
    ) -> Product:
        """Encode the texts, train the towers on the training rows, write down what they know."""
        texts = text_vectors(options, data, cache, device, progress)

        def train(rows: Rows) -> Fitted:
            return train_towers(texts, rows, options, validation(data), progress, device)

        product, _ = product_of(train, data, options)
        return product

    @staticmethod
    def members(
        options: TextOptions, data: PreparedData, cache: Path, device: str, progress: Progress
    ) -> list[Member]:
        """The towers fitted to all training rows, as a `mix` asks for them."""
        texts = text_vectors(options, data, cache, device, progress)
        return [train_towers(texts, data.train, options, validation(data), progress, device)]


def train_towers(
    texts: Tensor,
    train: Rows,
    options: TextOptions,
    validate: Callable[[TwoTowers], float],
    progress: Progress,
    device: str = "cpu",
) -> Fitted:
    """Fit the towers by full-softmax cross entropy over the catalogue.

    Args:
        texts: float32 [N, T], frozen text vectors.
        train: the training rows, the only rows that are learned from.
        options: sizes and optimisation.
        validate: metric (larger is better) of the towers as they are; chooses the epoch.
        progress: takes one line of text at a time.
        device: name of the torch device to compute on.

    Returns:
        The towers of the best epoch, in evaluation mode.

    Raises:
        BenchError: the loss became NaN or infinite.
    """
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)
        towers = Towers(
            texts,
            length=train.history.shape[1],
            width=options.width,
            heads=options.heads,
            feed_forward=options.feed_forward,
            dropout=options.dropout,
        ).to(device)
        return fit(Fitted("text", towers), full_softmax, train, options, validate, progress)
