from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.training.negatives import sample_negatives, shared_negatives


@given(st.integers(0, 2**31), st.integers(6, 40), st.integers(1, 4))
def test_a_negative_is_a_real_item_outside_history_and_target(
    seed: int, n_items: int, length: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    history = torch.randint(0, n_items + 1, (64, length), generator=generator)
    target = torch.randint(1, n_items + 1, (64,), generator=generator)
    negative = sample_negatives(history, target, n_items, generator)
    assert ((negative >= 1) & (negative <= n_items)).all()
    assert (negative != target).all()
    assert (negative.unsqueeze(1) != history).all()


def test_negatives_are_uniform_over_what_is_allowed() -> None:
    draws = 60_000
    history = torch.tensor([[3, 3, 7, 0]]).expand(draws, -1)
    target = torch.full((draws,), 1)
    generator = torch.Generator().manual_seed(0)
    counts = np.bincount(sample_negatives(history, target, 9, generator).numpy(), minlength=10)
    allowed = [2, 4, 5, 6, 8, 9]
    assert counts.sum() == counts[allowed].sum()
    expected = draws / len(allowed)
    assert ((counts[allowed] - expected) ** 2 / expected).sum() < 20.5  # chi2, 5 df, p = .001


def test_a_single_allowed_item_is_found() -> None:
    negative = sample_negatives(
        torch.tensor([[1, 2]]), torch.tensor([4]), 4, torch.Generator().manual_seed(0)
    )
    assert negative.tolist() == [3]


def test_shared_negatives_are_uniform_draws_or_the_targets() -> None:
    generator, target = torch.Generator().manual_seed(0), torch.tensor([3, 3, 1])
    assert torch.equal(shared_negatives(target, 7, 9, "in-batch", generator), target)
    drawn = shared_negatives(target, 90_000, 9, "uniform", generator)
    counts = np.bincount(drawn.numpy(), minlength=10)
    assert counts[0] == 0
    assert np.abs(counts[1:] - 10_000).max() < 500
