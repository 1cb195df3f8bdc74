"""Counting models against the same counts written as loops."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from bench.data.examples import Examples
from bench.data.prepare.interactions import canonical
from bench.data.prepare.windows import examples_at, ordinals
from bench.teachers.recommenders.counting import (
    ItemKNN,
    MarkovChain,
    MixtureParameters,
    NeighbourParameters,
    most_pairs,
)

N = 30
POPULARITY = 0.2


@pytest.fixture
def rows(make_rows: Callable[..., Examples]) -> Examples:
    """Rows of few items and many users, so that items share users and similarities differ."""
    rows = make_rows(60, 3, users=25)
    rows.target[:] = (rows.target - 1) % 12 + 1
    rows.history[rows.history > 0] = (rows.history[rows.history > 0] - 1) % 12 + 1
    return rows


def popularity(rows: Examples) -> list[float]:
    counts = [1 + sum(int(target) == item for target in rows.target) for item in range(1, N + 1)]
    return [count / sum(counts) for count in counts]


def mixture(scores: list[float], popular: list[float]) -> list[float]:
    if sum(scores) == 0:
        return popular
    return [
        (1 - POPULARITY) * score / sum(scores) + POPULARITY * share
        for score, share in zip(scores, popular, strict=True)
    ]


def similarities(rows: Examples) -> list[list[float]]:
    users: dict[int, set[int]] = {}
    for row in range(len(rows)):
        items = {*rows.history[row].tolist(), int(rows.target[row])} - {0}
        users.setdefault(int(rows.user[row]), set()).update(items)

    def both(i: int, j: int) -> int:
        return sum(i in items and j in items for items in users.values())

    table = [[0.0] * N for _ in range(N)]
    for i in range(1, N + 1):
        for j in range(1, N + 1):
            if i != j and both(i, j):
                table[i - 1][j - 1] = both(i, j) / math.sqrt(both(i, i) * both(j, j))
    return table


def test_item_knn_sums_cosines(rows: Examples, make_rows: Callable[..., Examples]) -> None:
    model = ItemKNN(NeighbourParameters(popularity=POPULARITY), rows, N)
    asked = make_rows(40, 9)
    found = np.exp(model.log_probabilities(asked.history, asked.length))
    table, popular = similarities(rows), popularity(rows)
    for row in range(len(asked)):
        history = asked.history[row, : asked.length[row]]
        scores = [sum(table[item - 1][j] for item in history) for j in range(N)]
        np.testing.assert_allclose(found[row], mixture(scores, popular), rtol=1e-4)


def test_no_more_neighbours_than_asked_for_and_the_nearest(rows: Examples) -> None:
    everything = ItemKNN(NeighbourParameters(), rows, N).similarities.toarray()
    nearest = ItemKNN(NeighbourParameters(neighbours=3), rows, N).similarities.toarray()
    assert (np.count_nonzero(nearest, axis=1) <= 3).all()
    np.testing.assert_allclose(
        np.sort(nearest, axis=1)[:, -3:], np.sort(everything, axis=1)[:, -3:], rtol=1e-6
    )
    assert (nearest[nearest > 0] == everything[nearest > 0]).all()


def test_markov_chain_counts_what_followed_the_last_item(
    rows: Examples, make_rows: Callable[..., Examples]
) -> None:
    model = MarkovChain(MixtureParameters(popularity=POPULARITY), rows, N)
    asked = make_rows(40, 9)
    found = np.exp(model.log_probabilities(asked.history, asked.length))
    last = rows.history[np.arange(len(rows)), rows.length - 1]
    for row in range(len(asked)):
        before = asked.history[row, asked.length[row] - 1]
        followers = [
            float(sum((last == before) & (rows.target == item))) for item in range(1, N + 1)
        ]
        np.testing.assert_allclose(found[row], mixture(followers, popularity(rows)), rtol=1e-4)


@pytest.mark.parametrize("kind", [ItemKNN, MarkovChain])
def test_probabilities_are_finite_and_sum_to_one(
    kind, rows: Examples, make_rows: Callable[..., Examples]
) -> None:
    asked = make_rows(40, 9)  # with items that no row has
    logs = kind(kind.Parameters(), rows, N).log_probabilities(asked.history, asked.length)
    assert logs.dtype == np.float32 and np.isfinite(logs).all()
    np.testing.assert_allclose(np.exp(logs).sum(axis=1), 1.0, rtol=1e-5)


def test_the_pairs_to_be_counted_are_told_in_advance() -> None:
    """Of whole sequences, where only items that do not fit into a first history go unseen."""
    data = canonical(
        [f"u{user}" for user in range(4) for _ in range(5 + user)],
        [f"i{user}-{place}" for user in range(4) for place in range(5 + user)],
        item_texts={},
        position=np.arange(26),
    )
    ordinal, _ = ordinals(data.user)
    targets = np.flatnonzero(ordinal > 0)
    rows = examples_at(targets, data.user, data.item, ordinal, history=10)
    counted = sum((5 + user) ** 2 for user in range(4))
    assert counted <= most_pairs(rows) <= 4 * counted
