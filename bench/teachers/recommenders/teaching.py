"""What one recommender teaches: its lists for training rows that it did not learn from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from bench.data.examples import Examples, PreparedData
from bench.evaluation.metrics import split_metrics
from bench.evaluation.ranking import SeenItems
from bench.teachers.builder import Product
from bench.teachers.folds import OutOfFold, folds_of, out_of_fold
from bench.teachers.lists import Lists
from bench.teachers.recommenders.lists import lists_by, log_probabilities, rank_targets
from bench.teachers.recommenders.members import Member


class TeachingOptions(BaseModel):
    """Options of every kind whose teacher is one recommender."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    list_length: PositiveInt = Field(100, description="K_T, items listed per training row")
    out_of_fold: OutOfFold | None = Field(
        OutOfFold(),
        description="lists of recommenders that did not see a row; null: of one that saw them all",
    )
    seed: NonNegativeInt = 0


Train = Callable[[Examples], Member]
"""A recommender that learned from rows, in its last state."""


def teaching(
    train: Train, data: PreparedData, options: TeachingOptions, device: str
) -> tuple[Product, Member]:
    """The lists of a recommender for all training rows, and its ranks of the others.

    Args:
        train: called once on all training rows, and once more for each fold.
        data: the rows and the catalogue.
        options: how lists are made.
        device: name of the torch device to compute on.

    Returns:
        The product, without embeddings; and the recommender that learned from all training rows,
        whose ranks of validation and test rows the product has.
    """
    whole = train(data.train)
    lists, policy, note = _lists(train, whole, data.train, options, device)
    in_top_ten = lists.targets_in_top(data.train, 10)
    seen = SeenItems.of(data.sequences, torch.device(device))
    valid, test = (
        rank_targets([whole], rows, device, seen)[""] for rows in (data.valid, data.test)
    )
    product = Product(
        rankings=lists.ids,
        distances=lists.distances,
        truth_distance=lists.truth,
        test_ranks=test.ranked,
        masked_test_ranks=test.masked,
        metrics=split_metrics(valid=valid, test=test),
        recipe={
            "recommender": whole.story,
            "own_ranking": "its scores over the catalogue",
            "list_policy": policy,
            "distance": "minus the log-softmax of its scores over the catalogue",
            "share_of_training_targets_in_top_10": round(in_top_ten, 4),
        },
        notes=[f"{note} ({in_top_ten:.1%} of these targets are in the row's top 10)."],
    )
    return product, whole


def _lists(
    train: Train, whole: Member, rows: Examples, options: TeachingOptions, device: str
) -> tuple[Lists, str, str]:
    """The lists of the training rows, what they leave out, and what a reader must know of them."""

    def listed(member: Member, asked: Examples, **kept: bool) -> Lists:
        return lists_by(
            partial(log_probabilities, [member]), asked, options.list_length, device, **kept
        )

    chosen = options.out_of_fold
    if chosen is None:
        return (
            listed(whole, rows),
            "the row's history is left out, its target is not",
            "The lists are in-sample: it learned from the targets of the rows they speak of",
        )

    def answer(learned: Examples, asked: Examples) -> Lists:
        # A target that is kept although the history holds it would give itself away.
        return listed(train(learned), asked, keep_target=False)

    return (
        out_of_fold(rows, folds_of(rows, chosen, options.seed), answer),
        "the row's history is left out, also where it holds the target",
        f"The lists are out of fold: each of {chosen.folds} recommenders lists for the rows of "
        f"{chosen.by}s that it did not learn from; embeddings and metrics are of one that learned "
        "from all rows",
    )
