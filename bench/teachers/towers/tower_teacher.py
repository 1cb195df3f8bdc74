"""Builder of teachers that are two towers: what kinds of such teachers share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor

from bench.data.examples import Examples, PreparedData
from bench.evaluation.metrics import metrics_from_ranks, split_metrics
from bench.evaluation.ranking import SeenItems
from bench.teachers.builder import Builder, Product
from bench.teachers.folds import OutOfFold, folds_of, out_of_fold
from bench.teachers.lists import Lists
from bench.teachers.recipe import TEXTS, texts_hash
from bench.teachers.recommenders.members import Member
from bench.teachers.texts import TextVectorOptions, text_vectors
from bench.teachers.towers.fitting import SELECT, FitOptions, Fitted, Loss, fit, full_softmax
from bench.teachers.towers.lists import history_vectors, rank_targets, ranked_lists
from bench.teachers.towers.tower import TwoTowers


class TowerOptions(FitOptions, TextVectorOptions):
    """Options of every kind whose teacher is two towers over item texts."""

    list_length: PositiveInt = Field(100, description="K_T, items listed per training row")
    out_of_fold: OutOfFold | None = Field(
        None, description="lists from towers that did not see a row; null: from those that did"
    )
    histories: bool = Field(
        False, description="export the vectors of the training histories as well"
    )
    softmax: Literal["all", "targets"] = Field(
        "all",
        description="which items the softmax of training is over: the catalogue, or the items that "
        "are a training target, so that no other is pushed down",
    )
    width: PositiveInt = 128
    heads: PositiveInt = Field(4, description="attention heads; divides the width")

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> TowerOptions:
        if self.width % self.heads:
            raise ValueError(f"'heads' ({self.heads}) must divide 'width' ({self.width})")
        return self


Train = Callable[[Examples], Fitted]
"""Towers fitted to rows, in their best state."""


class TowerTeacher(Builder):
    """Builder of a kind whose teacher is two towers; the kind says what they are made of."""

    @classmethod
    def network(cls, texts: Tensor, length: int, options: Any, **known: Any) -> TwoTowers:
        """Towers with their initial parameters.

        Args:
            texts: float32 [N, T], frozen text vectors.
            length: L, the longest history.
            options: an instance of `Options`.
            known: what `known` returned.
        """
        raise NotImplementedError

    @classmethod
    def known(cls, options: Any, data: PreparedData, cache: Path, device: str) -> dict[str, Any]:
        """What the network is given beside the texts, by name; here nothing."""
        return {}

    @classmethod
    def phases(cls, options: Any, train: Examples) -> list[tuple[Loss, FitOptions]]:
        """The losses that the towers are fitted by to the examples `train`, one after the other."""
        if options.softmax == "all":
            return [(full_softmax, options)]
        return [
            (
                functools.partial(full_softmax, over=np.unique(train.target).astype(np.int64) - 1),
                options,
            )
        ]

    @classmethod
    def fit(
        cls,
        texts: Tensor,
        train: Examples,
        options: Any,
        validate: Callable[[TwoTowers], float],
        device: str = "cpu",
        **known: Any,
    ) -> Fitted:
        """Fit the towers to examples, the only ones that are learned from.

        Args:
            texts: float32 [N, T], frozen text vectors.
            train: the training examples.
            options: sizes and optimisation.
            validate: metric (larger is better) of the towers as they are; chooses the epoch.
            device: name of the torch device to compute on.
            known: what the network is given beside the texts.

        Returns:
            The towers of the best epoch of the last phase, in evaluation mode.

        Raises:
            BenchError: the loss became NaN or infinite.
        """
        with torch.random.fork_rng():
            torch.manual_seed(options.seed)
            towers = cls.network(texts, train.history.shape[1], options, **known).to(device)
            fitted = Fitted(cls.name, towers)
            for loss, phase in cls.phases(options, train):
                fit(fitted, loss, train, phase, validate)
            return fitted

    @classmethod
    def build(cls, options: Any, data: PreparedData, cache: Path, device: str) -> Product:
        """Encode the texts, fit the towers to the training examples, export what they know."""
        return cls.product(options, data, cache, device)[0]

    @classmethod
    def product(
        cls, options: Any, data: PreparedData, cache: Path, device: str
    ) -> tuple[Product, Fitted]:
        """The same, with the towers that were fitted to all training examples."""
        return _product(cls._train(options, data, cache, device), data, options)

    @classmethod
    def members(cls, options: Any, data: PreparedData, cache: Path, device: str) -> list[Member]:
        """The towers fitted to all training examples, as a `mix` asks for them."""
        return [cls._train(options, data, cache, device)(data.train)]

    @classmethod
    def _train(cls, options: Any, data: PreparedData, cache: Path, device: str) -> Train:
        texts = torch.from_numpy(text_vectors(data, options, cache, device))
        known = cls.known(options, data, cache, device)

        def validate(towers: TwoTowers) -> float:
            return metrics_from_ranks(rank_targets(towers, data.valid).ranked)[SELECT]

        return lambda rows: cls.fit(texts, rows, options, validate, device, **known)


def _product(train: Train, data: PreparedData, options: TowerOptions) -> tuple[Product, Fitted]:
    """What the towers know of items and rows.

    Args:
        train: how they are fitted; called once on all training rows, and once more for each fold.
        data: the rows and the catalogue.
        options: how lists are made.

    Returns:
        The product, and the towers that were fitted to all training rows.
    """
    fitted = train(data.train)
    towers = fitted.towers
    lists, policy, note = _lists(train, fitted, data.train, options)
    in_top_ten = lists.targets_in_top(data.train, 10)
    seen = SeenItems.of(data.sequences, towers.texts.device)
    test = rank_targets(towers, data.test, seen)
    product = Product(
        embeddings=fitted.item_vectors(),
        rankings=lists.ids,
        distances=lists.distances,
        histories=history_vectors(towers, data.train) if options.histories else None,
        truth_distance=lists.truth,
        test_ranks=test.ranked,
        masked_test_ranks=test.masked,
        metrics=split_metrics(valid=rank_targets(towers, data.valid, seen), test=test),
        recipe={
            TEXTS: texts_hash(data),
            **towers.origin,
            **fitted.story,
            "share_of_training_targets_in_top_10": round(in_top_ten, 4),
            "list_policy": policy,
            "distance": towers.distance,
        },
        notes=[
            f"{note} ({in_top_ten:.1%} of these targets are in the row's top 10).",
            "It reads item texts, which the student does not; histories and rows are the "
            "student's own.",
            *options.notes,
        ],
    )
    return product, fitted


def _lists(
    train: Train, fitted: Fitted, rows: Examples, options: TowerOptions
) -> tuple[Lists, str, str]:
    """The lists of the training rows, what they leave out, and what a reader must know of them."""
    chosen = options.out_of_fold
    if chosen is None:
        lists = ranked_lists(fitted.towers, rows, options.list_length)
        return (
            lists.in_units(fitted.towers.unit()),
            "the row's history is left out, its target is not",
            "The lists are in-sample: the towers were trained on the targets of the rows they "
            "speak of",
        )

    def answer(learned: Examples, asked: Examples) -> Lists:
        towers = train(learned).towers
        # A target that is kept although the history holds it would give itself away.
        lists = ranked_lists(towers, asked, options.list_length, keep_target=False)
        return lists.in_units(towers.unit())

    lists = out_of_fold(rows, folds_of(rows, chosen, options.seed), answer)
    return (
        lists,
        "the row's history is left out, also where it holds the target",
        f"The lists are out of fold: each of {chosen.folds} towers lists for the rows of "
        f"{chosen.by}s that it was not trained on; embeddings and metrics are of towers trained on "
        "all rows; distances are those to a fold's own points, each in its own unit",
    )
