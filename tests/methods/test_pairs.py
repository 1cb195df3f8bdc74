from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from methods.unkd.pairs import RankPairs, shared_out

CPU = torch.device("cpu")


@pytest.mark.parametrize(("size", "decay"), [(2, 20.0), (4, 1.5), (6, 20.0), (6, 0.7)])
def test_pairs_are_two_draws_given_that_they_differ(size: int, decay: float) -> None:
    draws = 60_000
    pairs = RankPairs(9, decay, CPU)
    better, worse = pairs.draw(
        torch.full((draws,), size, dtype=torch.int64), torch.Generator().manual_seed(0)
    )
    single = [math.exp(-(rank + 1) / decay) for rank in range(size)]
    expected = np.array([a * b for a, b in itertools.combinations(single, 2)])
    expected *= draws / expected.sum()
    counts = np.array(
        [
            int(((better == a) & (worse == b)).sum())
            for a, b in itertools.combinations(range(size), 2)
        ]
    )
    assert counts.sum() == draws
    cells = len(counts)
    assert ((counts - expected) ** 2 / expected).sum() < cells + 4.5 * math.sqrt(2 * cells) + 7


@given(
    st.integers(0, 2**31),
    st.lists(st.integers(2, 60), min_size=1),
    st.floats(min_value=0.2, max_value=200),
)
def test_lists_of_every_size_in_one_draw(seed: int, sizes: list[int], decay: float) -> None:
    size = torch.tensor([sizes] * 40)
    better, worse = RankPairs(60, decay, CPU).draw(size, torch.Generator().manual_seed(seed))
    assert (better >= 0).all()
    assert (better < worse).all()
    assert (worse < size).all()


@given(st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0]), min_size=1, max_size=6), st.integers(1, 50))
def test_places_are_shared_out_in_proportion(shares: list[float], count: int) -> None:
    places = shared_out(torch.tensor([shares]), count)[0]
    assert (places.diff() >= 0).all()
    if sum(shares) == 0:
        assert places.tolist() == [len(shares) - 1] * count
        return
    for part, share in enumerate(shares):
        wanted = count * share / sum(shares)
        given_ = int((places == part).sum())
        assert abs(given_ - wanted) <= 1 + 1e-6
        assert share > 0 or given_ == 0


def test_equal_shares_are_equal_and_what_is_missing_goes_to_the_others() -> None:
    shares = torch.tensor([[1.0, 1, 1, 1], [1, 0, 1, 0], [0, 1, 1, 1]])
    parts = [row.bincount(minlength=4).tolist() for row in shared_out(shares, 32)]
    assert parts == [[8, 8, 8, 8], [16, 0, 16, 0], [0, 11, 10, 11]]
