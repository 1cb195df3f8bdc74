"""Teacher kind `text`: a frozen sentence encoder under a content-only two-tower recommender.

It stands in for an LLM teacher where none is at hand: it knows what the items are called, which
an id-based student does not. Its lists and points come from `tower.Towers`, trained on exactly
the training rows and histories that the student sees.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from bench.data.examples import Examples
from bench.teachers.towers.fitting import Fitted, fit, full_softmax
from bench.teachers.towers.tower import Towers, TwoTowers
from bench.teachers.towers.tower_teacher import TowerOptions, TowerTeacher


class TextOptions(TowerOptions):
    """Options of the kind `text`."""

    width: PositiveInt = Field(128, description="size D of the item points and queries")
    feed_forward: PositiveInt = Field(256, description="hidden size of the block's MLP")


def train_towers(
    texts: Tensor,
    train: Examples,
    options: TextOptions,
    validate: Callable[[TwoTowers], float],
    device: str = "cpu",
) -> Fitted:
    """Fit the towers by full-softmax cross entropy over the catalogue.

    Args:
        texts: float32 [N, T], frozen text vectors.
        train: the training rows, the only rows that are learned from.
        options: sizes and optimisation.
        validate: metric (larger is better) of the towers as they are; chooses the epoch.
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
        return fit(Fitted("text", towers), full_softmax, train, options, validate)


class TextTeacher(TowerTeacher):
    """Builder of the kind `text`."""

    Options = TextOptions
    fit = staticmethod(train_towers)
