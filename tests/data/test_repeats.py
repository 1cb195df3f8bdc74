"""How often targets repeat, counted by loops, and the rule that follows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.examples import Examples, Sequences
from bench.data.prepare.windows import examples_at, ordinals
from bench.data.repeats import Shares, repeated, rule


def table(users: list[list[int]], history: int) -> tuple[Examples, Sequences]:
    """Every target but the first of each user, and what users had."""
    user = np.repeat(np.arange(len(users)), [len(items) for items in users]).astype(np.int32)
    item = np.concatenate(users).astype(np.int32) - 1
    ordinal, _ = ordinals(user)
    rows = examples_at(np.flatnonzero(ordinal), user, item, ordinal, history)
    return rows, Sequences.of(user, item, len(users))


@given(st.lists(st.lists(st.integers(1, 5), min_size=2, max_size=9), min_size=1, max_size=5))
def test_shares_are_those_of_a_count_by_loops(users: list[list[int]]) -> None:
    rows, sequences = table(users, history=2)
    (found,) = repeated({"valid": rows}, sequences).values()
    targets = [(items, place) for items in users for place in range(1, len(items))]
    earlier = [items[place] in items[:place] for items, place in targets]
    shown = [items[place] in items[max(0, place - 2) : place] for items, place in targets]
    assert found == pytest.approx({"earlier": np.mean(earlier), "history": np.mean(shown)})


def rows_of(count: int) -> Examples:
    return table([[1] * (count + 1)], history=1)[0]


def shares(train: float, valid: float, test: float) -> Shares:
    found = {"train": train, "valid": valid, "test": test}
    return {split: {"earlier": share, "history": 0.0} for split, share in found.items()}


@pytest.mark.parametrize(
    ("train", "valid", "test", "expected"),
    [
        (0.0, 0.0, 1.0, "mask"),  # test does not decide
        (0.0, 0.099, 0.0, "mask"),
        (0.0, 0.1, 0.0, "rank"),
        (0.0099, 0.0099, 0.0, "mask"),
        (0.01, 0.01, 0.0, "rank"),
        (0.3, 0.0, 0.0, "rank"),
    ],
)
def test_items_are_left_out_where_next_to_no_target_repeats(
    train: float, valid: float, test: float, expected: str
) -> None:
    splits = {"train": rows_of(90), "valid": rows_of(10), "test": rows_of(10)}
    assert rule(splits, shares(train, valid, test)) == expected
