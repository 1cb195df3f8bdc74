from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.distillation.sampling import gumbel_top_k, uniform_outside

DRAWS = 60_000


def chi_square(counts: np.ndarray, expected: np.ndarray) -> float:
    return float(((counts - expected) ** 2 / expected).sum())


@given(st.integers(0, 2**31), st.integers(1, 30), st.integers(1, 12), st.integers(1, 9))
def test_draws_are_real_items_outside_what_is_excluded(
    seed: int, n_items: int, width: int, count: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    excluded = torch.randint(0, n_items + 1, (32, width), generator=generator)
    drawn = uniform_outside(excluded, count, n_items, generator)
    assert drawn.shape == (32, count)
    for row, items in zip(excluded.tolist(), drawn.tolist(), strict=True):
        allowed = set(range(1, n_items + 1)) - set(row)
        assert set(items) <= (allowed or {0})


def test_draws_are_uniform_and_independent() -> None:
    excluded = torch.tensor([[3, 0, 7, 3, 1]]).expand(DRAWS, -1)
    drawn = uniform_outside(excluded, 2, 9, torch.Generator().manual_seed(0)).numpy()
    allowed = [2, 4, 5, 6, 8, 9]
    pairs = np.array(
        [
            ((drawn[:, 0] == left) & (drawn[:, 1] == right)).sum()
            for left, right in itertools.product(allowed, allowed)
        ]
    )
    assert pairs.sum() == DRAWS
    assert chi_square(pairs, np.full(36, DRAWS / 36)) < 66.6  # 35 df, p = .001


def test_the_single_allowed_item_is_found_and_none_is_zero() -> None:
    excluded = torch.tensor([[5, 1, 2, 4], [3, 1, 2, 4], [0, 0, 0, 0]])
    drawn = uniform_outside(excluded[:2], 6, 5, torch.Generator().manual_seed(0))
    assert drawn.tolist() == [[3] * 6, [5] * 6]
    assert uniform_outside(excluded[:1, 1:], 3, 2, torch.Generator()).tolist() == [[0] * 3]
    assert uniform_outside(excluded[2:], 3, 1, torch.Generator()).tolist() == [[1] * 3]


@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(1, 15))
def test_positions_are_distinct_ascending_and_possible_first(seed: int, m: int, k: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(16, m, generator=generator)
    possible = torch.rand(16, m, generator=generator) < 0.6
    drawn = gumbel_top_k(weights.masked_fill(~possible, -torch.inf), k, generator)
    assert drawn.shape == (16, min(k, m))
    assert (drawn.diff(dim=1) > 0).all()
    for row, allowed in zip(drawn.tolist(), possible.tolist(), strict=True):
        assert sum(allowed[i] for i in row) == min(k, sum(allowed))


def test_sets_are_drawn_like_one_after_the_other_without_replacement() -> None:
    weights = [5.0, 3.0, 1.0, 1.0, 0.0]
    log_weights = torch.tensor([weights]).log().expand(DRAWS, -1)
    drawn = gumbel_top_k(log_weights, 2, torch.Generator().manual_seed(1)).tolist()
    total, expected, counts = sum(weights), [], []
    for left, right in itertools.combinations(range(4), 2):
        a, b = weights[left] / total, weights[right] / total
        expected.append(a * b / (1 - a) + b * a / (1 - b))
        counts.append(drawn.count([left, right]))
    assert math.isclose(sum(expected), 1.0)
    assert sum(counts) == DRAWS  # the impossible one never
    assert chi_square(np.array(counts), DRAWS * np.array(expected)) < 20.5  # 5 df, p = .001


@pytest.mark.parametrize("draw", ["uniform", "gumbel"])
def test_the_generator_alone_decides(draw: str) -> None:
    def once(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        if draw == "uniform":
            return uniform_outside(torch.tensor([[1, 2]]), 20, 1000, generator)
        return gumbel_top_k(torch.zeros(1, 1000), 20, generator)

    first = once(3)
    torch.manual_seed(5)
    assert torch.equal(first, once(3))
    assert not torch.equal(first, once(4))
