"""The text teacher learns what can be learned, from training rows only, and the same every time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bench.data.rows import PreparedData
from bench.errors import BenchError
from bench.evaluation.metrics import metrics_from_ranks
from bench.teachers.kinds.text import TextOptions, rank_targets, ranked_lists, train_towers
from bench.teachers.kinds.tower import Towers

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


def fitted(
    texts: torch.Tensor, data: PreparedData, options: TextOptions = OPTIONS
) -> tuple[Towers, list[float]]:
    def validate(towers: Towers) -> float:
        return metrics_from_ranks(rank_targets(towers, data.valid))["ndcg@20"]

    return train_towers(texts, data.train, options, validate, lambda line: None)


def test_a_planted_rule_is_learned(texts: torch.Tensor, data: PreparedData) -> None:
    towers, _ = fitted(texts, data)
    chance = 5 / data.n_items
    assert metrics_from_ranks(rank_targets(towers, data.test))["hr@5"] > 4 * chance


def test_same_seed_same_teacher_and_the_callers_randomness_is_left_alone(
    texts: torch.Tensor, data: PreparedData
) -> None:
    options = OPTIONS.model_copy(update={"epochs": 2, "dropout": 0.2})
    state = torch.get_rng_state()
    first, _ = fitted(texts, data, options)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    second, _ = fitted(texts, data, options)
    other, _ = fitted(texts, data, options.model_copy(update={"seed": 1}))
    assert torch.equal(first.points(), second.points())
    assert not torch.equal(first.points(), other.points())


def test_held_out_rows_are_not_read_in_training(
    texts: torch.Tensor, make_data: Callable[..., PreparedData]
) -> None:
    data = make_data(valid=Forbidden(), test=Forbidden())
    options = OPTIONS.model_copy(update={"epochs": 1})
    with pytest.raises(AssertionError, match="held-out"):
        fitted(texts, data, options)  # choosing the epoch does read validation rows
    towers, _ = train_towers(texts, data.train, options, lambda towers: 0.0, lambda line: None)
    ranked_lists(towers, data.train, 5)


def test_the_best_epoch_is_kept_and_training_stops(texts: torch.Tensor, data: PreparedData) -> None:
    scores = iter([0.1, 0.3, 0.2, 0.1, 0.1, 0.9])
    seen: list[torch.Tensor] = []

    def validate(towers: Towers) -> float:
        seen.append(towers.points().clone())
        return next(scores)

    options = OPTIONS.model_copy(update={"patience": 2})
    towers, history = train_towers(texts, data.train, options, validate, lambda line: None)
    assert history == [0.1, 0.3, 0.2, 0.1]  # two epochs without a better one
    assert torch.equal(towers.points(), seen[1])
    assert not towers.training


def test_a_loss_that_is_no_number_is_an_error(data: PreparedData) -> None:
    texts = torch.full((data.n_items, 4), math.nan)
    with pytest.raises(BenchError, match="the loss became nan in epoch 1"):
        fitted(texts, data)


@pytest.fixture
def towers(texts: torch.Tensor) -> Towers:
    return Towers(texts, 4, width=16, heads=2, feed_forward=16, dropout=0.5).eval()


@torch.no_grad()
def all_distances(towers: Towers, data: PreparedData) -> np.ndarray:
    """Distances of every training row's query to every item, the plain way, [R, N]."""
    rows = data.train
    points = towers.points()
    queries = towers.queries(
        points, torch.tensor(rows.history).long(), torch.tensor(rows.length).long()
    )
    return torch.cdist(queries, points, compute_mode="donot_use_mm_for_euclid_dist").numpy()


@pytest.mark.parametrize("repeated", [False, True])
def test_lists_are_the_closest_items_without_the_history(
    repeated: bool, towers: Towers, data: PreparedData
) -> None:
    if repeated:  # a target that was consumed before stays in the list
        data.train.target[:] = data.train.history[:, 0]
    ids, distances, truth = ranked_lists(towers, data.train, 6)
    table = all_distances(towers, data)
    np.testing.assert_allclose(
        truth, table[np.arange(len(table)), data.train.target - 1], rtol=1e-4
    )
    for row in range(len(table)):
        seen = set(data.train.history[row].tolist()) - {0, int(data.train.target[row])}
        allowed = [item for item in range(1, data.n_items + 1) if item not in seen]
        expected = sorted(table[row][item - 1] for item in allowed)[:6]
        np.testing.assert_allclose(distances[row], expected, rtol=1e-4)
        np.testing.assert_allclose(table[row][ids[row] - 1], distances[row], rtol=1e-4)
        assert not seen & set(ids[row].tolist())
        assert len(set(ids[row].tolist())) == 6
    assert (np.diff(distances, axis=1) >= 0).all()


def test_ranks_follow_distance(towers: Towers, data: PreparedData) -> None:
    table = all_distances(towers, data)
    own = table[np.arange(len(table)), data.train.target - 1]
    expected = (table <= own[:, None] * (1 + 1e-6)).sum(axis=1)
    assert (np.abs(rank_targets(towers, data.train) - expected) <= 1).all()


def test_padding_says_nothing(towers: Towers) -> None:
    points = towers.points()
    short = torch.tensor([[3, 7, 0, 0]])
    one_wide = torch.tensor([[3, 7]])
    with torch.no_grad():
        torch.testing.assert_close(
            towers.queries(points, short, torch.tensor([2])),
            towers.queries(points, one_wide, torch.tensor([2])),
        )
        order = towers.queries(points, torch.tensor([[7, 3, 0, 0]]), torch.tensor([2]))
    assert not torch.allclose(order, towers.queries(points, short, torch.tensor([2])))
