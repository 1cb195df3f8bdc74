"""Rows in blocks, rows held out, and what a row has seen is not left to list."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
import torch

from bench.data.examples import Examples, PreparedData
from bench.errors import BenchError
from bench.teachers.rows import blocks, hold_out, intervals, list_length, sampled, unseen

SCORES = torch.tensor([[5.0, 4.0, 3.0, 2.0], [1.0, 2.0, 3.0, 4.0]])
HISTORY = torch.tensor([[2, 1, 0], [4, 3, 4]])
NEVER = -torch.inf


@pytest.mark.parametrize("size", [7, 240, 1000])
def test_blocks_hold_every_row_once_and_in_order(
    size: int, make_rows: Callable[..., Examples], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.teachers.rows.BLOCK", size)
    rows = make_rows(240, 0)
    parts, found = zip(*blocks(rows, "cpu"), strict=True)
    assert [len(block) for block in found] == [len(rows.target[part]) for part in parts]
    assert max(len(block) for block in found) <= size
    for name in ("history", "length", "target", "user", "ordinal"):
        column = torch.cat([getattr(block, name) for block in found])
        assert column.dtype == torch.int64
        np.testing.assert_array_equal(column, getattr(rows, name))


def test_what_was_seen_is_out() -> None:
    expected = torch.tensor([[NEVER, NEVER, NEVER, 3.0, 2.0], [NEVER, 1.0, 2.0, NEVER, NEVER]])
    assert torch.equal(unseen(SCORES, HISTORY), expected)
    assert torch.isfinite(SCORES).all()  # what was given is left as it is


def test_a_target_that_was_seen_stays() -> None:
    expected = torch.tensor([[NEVER, 5.0, NEVER, 3.0, 2.0], [NEVER, 1.0, 2.0, NEVER, 4.0]])
    assert torch.equal(unseen(SCORES, HISTORY, torch.tensor([1, 4])), expected)


def test_padding_is_never_listed_where_no_history_has_any() -> None:
    full = unseen(SCORES, torch.tensor([[1], [2]]), torch.tensor([3, 3]))
    assert (full[:, 0] == NEVER).all() and torch.isfinite(full[:, 3]).all()


def test_lists_are_as_long_as_the_fullest_history_leaves_room_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    history = np.array([[1, 2, 3, 4], [1, 1, 1, 0], [5, 2, 0, 0]], dtype=np.int32)
    size = np.array([4, 3, 2], dtype=np.int32)
    target = np.array([4, 2, 3], dtype=np.int32)
    rows = Examples(history, size, target, np.arange(3, dtype=np.int32), size)
    assert list_length(rows, 100, 20) == 20 and not caplog.text
    with caplog.at_level("INFO", "bench"):
        assert list_length(rows, 6, 20) == 3  # of row 0, whose target stays
    assert "lists hold 3 items in place of 20: a history shows 3 of the 6" in caplog.text
    assert list_length(rows, 6, 20, keep_target=False) == 2
    assert list_length(rows, 4, 20, keep_target=False) == 1


def test_who_has_seen_everything_is_told_the_best_of_it() -> None:
    scores = torch.tensor([[1.0, 3.0, 2.0], [1.0, 3.0, 2.0]])
    left = unseen(scores, torch.tensor([[1, 2, 3], [2, 0, 0]]))
    assert left.topk(2).indices.tolist() == [[2, 3], [3, 1]]
    assert left[:, 0].isneginf().all()


def test_the_last_rows_of_users_are_held_out(toy: PreparedData) -> None:
    rows, held = hold_out(toy.train, 0.2, 0)
    assert len(rows) + len(held) == len(toy.train)
    keys = [set(zip(r.user.tolist(), r.ordinal.tolist(), strict=True)) for r in (rows, held)]
    assert not keys[0] & keys[1]
    for user in range(20):
        mine = rows.ordinal[rows.user == user]
        theirs = held.ordinal[held.user == user]
        assert len(theirs) in (2, 3)  # 0.2 of 12 rows
        assert mine.max() < theirs.min()


def test_a_user_with_one_row_loses_it_as_often_as_the_share_says() -> None:
    n = 4000
    column = np.arange(n, dtype=np.int32)
    ones = np.ones(n, dtype=np.int32)
    _, held = hold_out(Examples(ones[:, None], ones, ones, column, ones), 0.05, 1)
    assert 140 < len(held) < 260
    _, again = hold_out(Examples(ones[:, None], ones, ones, column, ones), 0.05, 1)
    np.testing.assert_array_equal(held.user, again.user)


def test_too_few_rows(toy: PreparedData) -> None:
    few = Examples(*(np.asarray(c)[:1] for c in vars(toy.train).values()))
    with pytest.raises(BenchError, match="1 training rows are too few"):
        hold_out(few, 0.05, 0)


def test_sampled_rows() -> None:
    assert sampled(7, None, 0).all() and sampled(7, 9, 0).all()
    assert sampled(50, 20, 0).sum() == 20
    assert (sampled(50, 20, 0) == sampled(50, 20, 0)).all()
    assert (sampled(50, 20, 0) != sampled(50, 20, 1)).any()


def test_an_interval_is_that_of_a_mean_over_users(make_rows: Callable[..., Examples]) -> None:
    rows = make_rows(300, 0)
    ranks = np.random.default_rng(0).integers(1, 40, 300)
    hit = ranks <= 20
    (low, high), (first, last) = intervals(ranks, rows, ["hr@20", "ndcg@20"]).values()
    users, place = np.unique(rows.user, return_inverse=True)
    sums = np.bincount(place, hit - hit.mean())
    n = len(users)
    error = np.sqrt(n / (n - 1) * (sums**2).sum()) / 300
    margin = scipy.stats.t.ppf(0.975, n - 1) * error
    np.testing.assert_allclose([low, high], [hit.mean() - margin, hit.mean() + margin], atol=1e-5)
    assert 0 <= first < last < high
    alone = dataclasses.replace(rows, user=np.zeros_like(rows.user))
    assert intervals(ranks, alone, ["hr@20"]) == {}
