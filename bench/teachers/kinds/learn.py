"""Teacher kind `learn`: LEARN's preference alignment tower on frozen text vectors.

Jia et al. (AAAI 2025) align a frozen language model's item vectors with what users prefer by one
small transformer that histories and items share (`alignment.PreferenceAlignment`). As a teacher it
gives the aligned item vectors, lists by their distance to a history's vector, and the lists of
four states of its training.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from bench.data.examples import Examples, PreparedData
from bench.teachers.builder import Product
from bench.teachers.recommenders.lists import listed
from bench.teachers.registry import register_teacher
from bench.teachers.towers.alignment import PreferenceAlignment, in_batch
from bench.teachers.towers.fitting import FitOptions, Loss
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


@register_teacher(
    "learn",
    signals={"embeddings", "rankings", "confidence", "truth-distance", "trajectories"},
    optional={"histories"},
    twins={"random": {"encoder": "random"}, "shuffled": {"texts": "shuffled"}},
)
class LearnTeacher(TowerTeacher):
    """Builder of the kind `learn`, which also exports lists of earlier states of the towers.

    They are fitted against the targets of the batch first, then over the whole catalogue.
    """

    Options = LearnOptions

    @classmethod
    def network(
        cls, texts: Tensor, length: int, options: LearnOptions, **known: Any
    ) -> PreferenceAlignment:
        return PreferenceAlignment(
            texts,
            normalise=options.normalise,
            width=options.width,
            layers=options.layers,
            heads=options.heads,
            out_width=options.out_width,
            dropout=options.dropout,
            scale=options.scale,
        )

    @classmethod
    def phases(cls, options: LearnOptions, train: Examples) -> list[tuple[Loss, FitOptions]]:
        epochs = options.pretrain_epochs
        first = options.model_copy(update={"epochs": epochs, "patience": epochs})
        return [*([(in_batch, first)] if epochs else []), *super().phases(options, train)]

    @classmethod
    def build(cls, options: LearnOptions, data: PreparedData, cache: Path, device: str) -> Product:
        product, fitted = cls.product(options, data, cache, device)
        trajectories, _ = listed([fitted], data.train, data.n_items, TRAJECTORY_LENGTH, device)
        return replace(
            product,
            trajectories=trajectories,
            members=[fitted.name],
            notes=[*product.notes, "Trajectories are in-sample; validation rows chose the states."],
        )
