"""The states of a training at which a recommender is looked at."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.teachers.recommenders.members import first_to_reach


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.1, 0.2, 0.31, 0.4], [1, 2, 3, 4]),
        ([0.01, 0.04, 0.03, 0.09, 0.05, 0.1, 0.1], [2, 4, 4, 6]),
        ([0.5], [1, 1, 1, 1]),
        ([0.0, 0.0], [1, 1, 1, 1]),
        ([0.4, 0.1, 0.5], [1, 1, 1, 3]),
    ],
)
def test_states_by_hand(values: list[float], expected: list[int]) -> None:
    assert first_to_reach(values) == expected


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_states_are_ordered_and_every_one_was_the_best_so_far(values: list[float]) -> None:
    states = first_to_reach(values)
    assert states == sorted(states) and states[-1] == 1 + values.index(max(values))
    for epoch in states:
        assert all(values[epoch - 1] > before for before in values[: epoch - 1])
