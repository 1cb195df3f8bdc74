"""EASE against a regression of each item on all others, and what it does not attempt."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.baselines.ease import EASE
from bench.data.examples import Examples
from bench.errors import BenchError

from .tables import TABLES, N, examples_of, users_of

SEQUENCES = [[1, 2, 3, 7], [2, 3, 4, 12], [5, 1, 2], [9, 8, 3, 2, 11], [6, 10, 1]]


@settings(max_examples=40)
@given(TABLES, st.sampled_from([0.5, 10.0, 500.0]))
def test_weights_are_those_of_a_ridge_regression_per_item(train: Examples, l2: float) -> None:
    users = np.zeros((int(train.user.max()) + 1, N))
    for user, items in users_of(train).items():
        users[user, [item - 1 for item in items]] = 1
    weights = EASE(EASE.Config(l2=l2)).fit(train, N).weights
    assert weights.dtype == np.float32 and not weights.diagonal().any()
    for item in range(N):
        others = np.arange(N) != item
        x = users[:, others]
        expected = np.linalg.solve(x.T @ x + l2 * np.eye(N - 1), x.T @ users[:, item])
        np.testing.assert_allclose(weights[others, item], expected, rtol=1e-3, atol=1e-5)


@settings(max_examples=25)
@given(TABLES, TABLES)
def test_a_score_is_the_sum_of_weights_of_the_items_of_the_history(
    train: Examples, asked: Examples
) -> None:
    model = EASE(EASE.Config(l2=1.0)).fit(train, N)
    for row, found in enumerate(model.scores(asked.history, asked.length)):
        items = {*asked.history[row].tolist()} - {0}
        expected = sum(model.weights[item - 1].astype(np.float64) for item in items)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_catalogue_of_several_blocks_is_inverted_as_one_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train = examples_of(SEQUENCES)
    whole = EASE(EASE.Config(l2=1.0)).fit(train, N).weights
    monkeypatch.setattr("bench.baselines.ease.BLOCK", 5)
    np.testing.assert_array_equal(EASE(EASE.Config(l2=1.0)).fit(train, N).weights, whole)


def test_a_matrix_that_does_not_fit_in_memory_is_refused_with_both_sizes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = SimpleNamespace(available=2_500_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    with pytest.raises(BenchError, match=r"50,000 x 50,000 items.* 30\.0 GB.* 2\.5 GB"):
        EASE().fit(examples_of(SEQUENCES), 50_000)
