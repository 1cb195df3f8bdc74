"""Candidate sets hold what they must, once, and nothing else is certain about them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bench.teachers.kinds.delrec.candidates import dealt, with_random


@given(st.integers(2, 40), st.integers(0, 9), st.integers(0, 40), st.integers(0, 99))
def test_chosen_items_are_there_once_beside_others(
    n_items: int, chosen: int, more: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    items = random.permutation(n_items)[:chosen] + 1
    found = with_random(items.tolist(), len(items) + more, n_items, random)
    assert len(found) == min(len(items) + more, n_items)
    assert len(set(found.tolist())) == len(found)
    assert set(items.tolist()) <= set(found.tolist()) <= set(range(1, n_items + 1))


def test_every_other_item_and_every_place_is_as_likely() -> None:
    random = np.random.default_rng(0)
    sets = np.array([with_random([3], 4, 9, random) for _ in range(3000)])
    counts = np.bincount(sets.ravel(), minlength=10)
    assert counts[3] == 3000
    others = np.delete(counts, [0, 3]) / 3000
    np.testing.assert_allclose(others, 3 / 8, atol=0.04)
    np.testing.assert_allclose((sets == 3).mean(axis=0), 1 / 4, atol=0.04)


@given(st.integers(1, 60), st.integers(1, 25))
def test_dealt_groups_share_the_list_evenly(count: int, size: int) -> None:
    groups = dealt(count, size)
    assert sorted(np.concatenate(groups).tolist()) == list(range(count))
    sizes = {len(group) for group in groups}
    assert max(sizes) <= size and max(sizes) - min(sizes) <= 1
    assert [group[0] for group in groups] == list(range(len(groups)))
