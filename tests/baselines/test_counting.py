"""Item-kNN, the Markov chain and popularity against the same counts written as loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.baselines.interface import Baseline
from bench.baselines.item_knn import ItemKNN, most_pairs
from bench.baselines.markov import MarkovChain
from bench.baselines.popularity import Popularity
from bench.data.examples import Examples
from bench.data.prepare.interactions import canonical
from bench.data.prepare.windows import examples_at, ordinals

from .tables import TABLES, N, examples_of, mixture, popularity, users_of

SHARE = 0.2


def similarities(examples: Examples) -> list[list[float]]:
    baskets = users_of(examples).values()

    def both(i: int, j: int) -> int:
        return sum(i in items and j in items for items in baskets)

    table = [[0.0] * N for _ in range(N)]
    for i in range(1, N + 1):
        for j in range(1, N + 1):
            if i != j and both(i, j):
                table[i - 1][j - 1] = both(i, j) / math.sqrt(both(i, i) * both(j, j))
    return table


@settings(max_examples=40)
@given(TABLES, TABLES)
def test_item_knn_sums_cosines(train: Examples, asked: Examples) -> None:
    model = ItemKNN(ItemKNN.Config(popularity=SHARE)).fit(train, N)
    found = np.exp(model.scores(asked.history, asked.length))
    table, popular = similarities(train), popularity(train)
    for row in range(len(asked)):
        history = asked.history[row, : asked.length[row]]
        scores = [sum(table[item - 1][j] for item in history) for j in range(N)]
        np.testing.assert_allclose(found[row], mixture(scores, popular, SHARE), rtol=1e-4)


@settings(max_examples=40)
@given(TABLES, st.integers(1, 4))
def test_item_knn_keeps_the_nearest_neighbours(train: Examples, neighbours: int) -> None:
    everything = ItemKNN().fit(train, N).similarities.toarray()
    nearest = ItemKNN(ItemKNN.Config(neighbours=neighbours)).fit(train, N).similarities.toarray()
    assert (np.count_nonzero(nearest, axis=1) <= neighbours).all()
    np.testing.assert_allclose(
        np.sort(nearest, axis=1)[:, -neighbours:],
        np.sort(everything, axis=1)[:, -neighbours:],
        rtol=1e-6,
    )
    assert (nearest[nearest > 0] == everything[nearest > 0]).all()


@settings(max_examples=40)
@given(TABLES, TABLES)
def test_markov_chain_counts_what_followed_the_last_item(train: Examples, asked: Examples) -> None:
    model = MarkovChain(MarkovChain.Config(popularity=SHARE)).fit(train, N)
    found = np.exp(model.scores(asked.history, asked.length))
    last = train.history[np.arange(len(train)), train.length - 1]
    for row in range(len(asked)):
        before = asked.history[row, asked.length[row] - 1]
        followers = [
            float(sum((last == before) & (train.target == item))) for item in range(1, N + 1)
        ]
        expected = mixture(followers, popularity(train), SHARE)
        np.testing.assert_allclose(found[row], expected, rtol=1e-4)


@settings(max_examples=40)
@given(TABLES, TABLES)
def test_popularity_ranks_by_counts_and_ties_count_against(
    train: Examples, asked: Examples
) -> None:
    model = Popularity().fit(train, N)
    counts = train.target.tolist()
    ranks = model.ranks(asked, N)
    assert ranks.dtype == np.int32
    assert ranks.tolist() == [
        sum(counts.count(other) >= counts.count(target) for other in range(1, N + 1))
        for target in asked.target
    ]
    assert ranks.tolist() == Baseline.all_ranks(model, asked, N, None).ranked.tolist()


def test_a_target_that_was_never_trained_on_is_ranked_last_by_popularity() -> None:
    model = Popularity().fit(examples_of([[5, 1], [5, 1], [5, 2]]), 4)
    assert model.ranks(examples_of([[3, 1, 2, 3]]), 4).tolist() == [1, 2, 4]


@pytest.mark.parametrize("kind", [ItemKNN, MarkovChain, Popularity])
@settings(max_examples=25)
@given(train=TABLES, asked=TABLES)
def test_probabilities_sum_to_one(kind: type[Baseline], train: Examples, asked: Examples) -> None:
    scores = kind().fit(train, N).scores(asked.history, asked.length)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1.0, rtol=1e-5)


def test_the_pairs_to_be_counted_are_known_in_advance() -> None:
    """Of whole sequences, where only items that do not fit into a first history go unseen."""
    data = canonical(
        [f"u{user}" for user in range(4) for _ in range(5 + user)],
        [f"i{user}-{place}" for user in range(4) for place in range(5 + user)],
        item_texts={},
        position=np.arange(26),
    )
    ordinal, _ = ordinals(data.user)
    targets = np.flatnonzero(ordinal > 0)
    examples = examples_at(targets, data.user, data.item, ordinal, history=10)
    counted = sum((5 + user) ** 2 for user in range(4))
    assert counted <= most_pairs(examples) <= 4 * counted
