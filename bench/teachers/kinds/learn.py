"""Teacher kind `learn`: LEARN's preference alignment tower on frozen text vectors.

Jia et al. (AAAI 2025) align a frozen language model's item vectors with what users prefer by one
small transformer that histories and items share (`alignment.PreferenceAlignment`). As a teacher it
gives the aligned item vectors, lists by their distance to a history's vector, and the lists of
four states of its training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from bench.data.examples import Examples, PreparedData
from bench.teachers.builder import Product
from bench.teachers.recommenders.lists import listed
from bench.teachers.towers.alignment import PreferenceAlignment, in_batch
from bench.teachers.towers.fitting import Fitted, fit, full_softmax
from bench.teachers.towers.tower import TwoTowers
from bench.teachers.towers.tower_teacher import TowerOptions, TowerTeacher

TRAJECTORY_LENGTH = 64


class LearnOptions(TowerOptions):
    """Options of the kind `learn`."""

    normalise: Literal["standardise", "l2"] = Field(
        "standardise", description="the text vectors: per dimension, or as in the paper"
    )
    width: PositiveInt = Field(128, description="of the transformer")
    layers: PositiveInt = Field(2, description="of the transformer")
    out_width: PositiveInt = Field(128, description="size D of the item and history vectors")
    scale: PositiveFloat = Field(20.0, description="kappa, inverse temperature of the cosine")
    pretrain_epochs: NonNegativeInt = Field(
        4, description="passes against the batch's other targets, before those over the catalogue"
    )
    dropout: float = Field(0.1, ge=0, lt=1)
    learning_rate: PositiveFloat = Field(
        1e-3, description="peak of either phase; falls to 0 over its epochs"
    )
    batch_size: PositiveInt = 1024
    epochs: PositiveInt = Field(4, description="passes over the catalogue, at most")


def align(
    texts: Tensor,
    train: Examples,
    options: LearnOptions,
    validate: Callable[[TwoTowers], float],
    device: str = "cpu",
) -> Fitted:
    """Fit the transformer: first against the batch's targets, then over the whole catalogue.

    Args:
        texts: float32 [N, T], frozen text vectors.
        train: the training rows, the only rows that are learned from.
        options: sizes and optimisation.
        validate: metric (larger is better) of the towers as they are; chooses the epoch.
        device: name of the torch device to compute on.

    Returns:
        The towers of the best epoch of either phase, in evaluation mode.

    Raises:
        BenchError: the loss became NaN or infinite.
    """
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)
        towers = PreferenceAlignment(
            texts,
            normalise=options.normalise,
            width=options.width,
            layers=options.layers,
            heads=options.heads,
            out_width=options.out_width,
            dropout=options.dropout,
            scale=options.scale,
        ).to(device)
        fitted = Fitted("learn", towers)
        if options.pretrain_epochs:
            epochs = options.pretrain_epochs
            first = options.model_copy(update={"epochs": epochs, "patience": epochs})
            fit(fitted, in_batch, train, first, validate)
        return fit(fitted, full_softmax, train, options, validate)


class LearnTeacher(TowerTeacher):
    """Builder of the kind `learn`, which also tells how the towers were at states before."""

    Options = LearnOptions
    fit = staticmethod(align)

    @classmethod
    def build(
        cls,
        options: LearnOptions,
        data: PreparedData,
        cache: Path,
        device: str,
    ) -> Product:
        """Encode the texts, align them on the training rows, write down what came of it."""
        product, fitted = cls.told(options, data, cache, device)
        trajectories, _ = listed([fitted], data.train, data.n_items, TRAJECTORY_LENGTH, device)
        return replace(
            product,
            trajectories=trajectories,
            members=[fitted.name],
            notes=[*product.notes, "Trajectories are in-sample; validation rows chose the states."],
        )
