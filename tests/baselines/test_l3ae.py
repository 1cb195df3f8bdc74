"""L3AE against two regressions of each item on all others, and where it has no entry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.baselines.ease import EASE
from bench.baselines.l3ae import L3AE
from bench.data.examples import Examples
from bench.errors import BenchError

from .tables import TABLES, N, examples_of, users_of

SEQUENCES = [[1, 2, 3, 7], [2, 3, 4, 12], [5, 1, 2], [9, 8, 3, 2, 11], [6, 10, 1]]


def unit_texts(seed: int, width: int = 5) -> np.ndarray:
    texts = np.random.default_rng(seed).standard_normal((N, width))
    texts[3] = texts[7]  # two items of one title
    return (texts / np.linalg.norm(texts, axis=1, keepdims=True)).astype(np.float32)


def fitted(train: Examples, texts: np.ndarray, **changes: float) -> L3AE:
    model = L3AE(L3AE.Config(**changes))
    model.read_texts(texts)
    return model.fit(train, N)


@settings(max_examples=40)
@given(
    TABLES,
    st.integers(0, 99),
    st.sampled_from([0.5, 20.0, 500.0]),
    st.sampled_from([0.0, 1.0, 100.0]),
    st.sampled_from([0.3, 5.0]),
    st.sampled_from([3, 20]),
)
def test_weights_are_those_of_two_ridge_regressions_per_item(
    train: Examples, seed: int, l2: float, prior: float, text_l2: float, width: int
) -> None:
    users, texts = np.zeros((int(train.user.max()) + 1, N)), unit_texts(seed, width)
    for user, items in users_of(train).items():
        users[user, [item - 1 for item in items]] = 1
    weights = fitted(train, texts, l2=l2, prior=prior, text_l2=text_l2).weights
    assert weights.dtype == np.float32 and not weights.diagonal().any()
    for item in range(N):
        others = np.arange(N) != item
        f, x = texts.T[:, others].astype(np.float64), users[:, others]
        said = np.linalg.solve(f.T @ f + text_l2 * np.eye(N - 1), f.T @ texts.T[:, item])
        ridge = x.T @ x + (l2 + prior) * np.eye(N - 1)
        expected = np.linalg.solve(ridge, x.T @ users[:, item] + prior * said)
        np.testing.assert_allclose(weights[others, item], expected, rtol=2e-3, atol=2e-5)


@settings(max_examples=20)
@given(TABLES, TABLES)
def test_without_a_prior_it_is_ease(train: Examples, asked: Examples) -> None:
    model = fitted(train, unit_texts(0), l2=20.0, prior=0.0)
    ease = EASE(EASE.Config(l2=20.0)).fit(train, N)
    wanted = ease.scores(asked.history, asked.length)
    found = model.scores(asked.history, asked.length)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)


def test_texts_speak_of_items_that_nobody_consumed() -> None:
    train = examples_of(SEQUENCES[:2])  # items 5, 6 and 8 to 11 are in no sequence
    texts = unit_texts(1)
    texts[5] = texts[0]
    scores = fitted(train, texts, prior=500.0).scores(
        np.array([[1, 0, 0, 0]], dtype=np.int32), np.array([1], dtype=np.int32)
    )[0]
    unknown = [4, 5, 7, 8, 9, 10]
    assert max(unknown, key=lambda item: scores[item]) == 5
    ease = (
        EASE()
        .fit(train, N)
        .scores(np.array([[1, 0, 0, 0]], dtype=np.int32), np.array([1], dtype=np.int32))[0]
    )
    assert not ease[unknown].any()


def test_without_texts_it_is_refused() -> None:
    with pytest.raises(BenchError, match="given no texts"):
        L3AE().fit(examples_of(SEQUENCES), N)


def test_a_catalogue_of_several_blocks_is_as_one_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    train = examples_of(SEQUENCES)
    whole = fitted(train, unit_texts(0)).weights
    monkeypatch.setattr("bench.baselines.l3ae.BLOCK", 5)
    np.testing.assert_allclose(fitted(train, unit_texts(0)).weights, whole, rtol=1e-6, atol=1e-9)
