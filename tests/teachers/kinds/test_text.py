"""The text teacher learns what can be learned, from training rows only, and the same every time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.data.examples import PreparedData
from bench.errors import BenchError, DataError
from bench.evaluation.metrics import metrics_from_ranks
from bench.teachers.kinds.learn import LearnTeacher
from bench.teachers.kinds.raw_text import RawTextTeacher
from bench.teachers.kinds.text import TextOptions, TextTeacher
from bench.teachers.towers.fitting import Fitted
from bench.teachers.towers.lists import rank_targets, ranked_lists
from bench.teachers.towers.tower import TwoTowers

OPTIONS = TextOptions(
    width=32, heads=2, feed_forward=32, dropout=0.0, learning_rate=0.02, batch_size=32, epochs=12
)


class Forbidden:
    """Rows that must not be looked at."""

    def __len__(self) -> int:
        return self.__getattr__("len")

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"'{name}' of held-out rows was read in training")


@pytest.fixture
def texts(data: PreparedData) -> torch.Tensor:
    return torch.randn(data.n_items, 24, generator=torch.Generator().manual_seed(5))


def fitted(texts: torch.Tensor, data: PreparedData, options: TextOptions = OPTIONS) -> Fitted:
    def validate(towers: TwoTowers) -> float:
        return metrics_from_ranks(rank_targets(towers, data.valid).ranked)["ndcg@20"]

    return TextTeacher.fit(texts, data.train, options, validate)


def test_a_planted_rule_is_learned(texts: torch.Tensor, data: PreparedData) -> None:
    towers = fitted(texts, data).towers
    chance = 5 / data.n_items
    assert metrics_from_ranks(rank_targets(towers, data.test).ranked)["hr@5"] > 4 * chance


def test_same_seed_same_teacher_and_the_callers_randomness_is_left_alone(
    texts: torch.Tensor, data: PreparedData
) -> None:
    options = OPTIONS.model_copy(update={"epochs": 2, "dropout": 0.2})
    state = torch.get_rng_state()
    first = fitted(texts, data, options).towers
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    second = fitted(texts, data, options).towers
    other = fitted(texts, data, options.model_copy(update={"seed": 1})).towers
    assert torch.equal(first.points(), second.points())
    assert not torch.equal(first.points(), other.points())


def test_held_out_rows_are_not_read_in_training(
    texts: torch.Tensor, make_data: Callable[..., PreparedData]
) -> None:
    data = make_data(valid=Forbidden(), test=Forbidden())
    options = OPTIONS.model_copy(update={"epochs": 1})
    with pytest.raises(AssertionError, match="held-out"):
        fitted(texts, data, options)  # choosing the epoch does read validation rows
    trained = TextTeacher.fit(texts, data.train, options, lambda towers: 0.0)
    ranked_lists(trained.towers, data.train, 5)


def test_the_best_epoch_is_kept_and_training_stops(texts: torch.Tensor, data: PreparedData) -> None:
    scores = iter([0.1, 0.3, 0.2, 0.1, 0.1, 0.9])
    seen: list[torch.Tensor] = []

    def validate(towers: TwoTowers) -> float:
        seen.append(towers.points().clone())
        return next(scores)

    options = OPTIONS.model_copy(update={"patience": 2})
    trained = TextTeacher.fit(texts, data.train, options, validate)
    assert trained.values == [0.1, 0.3, 0.2, 0.1]  # two epochs without a better one
    assert torch.equal(trained.towers.points(), seen[1])
    assert not trained.towers.training
    assert trained.story["best_epoch"] == 2 and trained.story["epochs_run"] == 4
    trained.load(0)
    assert torch.equal(trained.towers.points(), seen[0])
    assert trained.states == [0, 1, 1, 1]  # the first epochs of 25, 50, 75 and 100 % of the best


def test_a_loss_that_is_no_number_is_an_error(data: PreparedData) -> None:
    texts = torch.full((data.n_items, 4), math.nan)
    with pytest.raises(BenchError, match="the loss became nan in epoch 1"):
        fitted(texts, data)


@pytest.mark.parametrize("kind", [TextTeacher, RawTextTeacher, LearnTeacher])
def test_items_without_texts_are_nothing_to_learn_from(
    kind: Any, data: PreparedData, tmp_path: Path
) -> None:
    blank = dataclasses.replace(data, item_texts=["", " "] * (data.n_items // 2))
    with pytest.raises(DataError, match=r"items of 'toy' have no texts.*such as ensemble"):
        kind.build(kind.Options(), blank, tmp_path, "cpu")
    assert not list(tmp_path.iterdir())
