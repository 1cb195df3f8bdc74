from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.delrec_reverse.candidates import (
    candidates,
    log_softmax_over,
    ranking_loss,
    uniform_items,
)


@settings(max_examples=60)
@given(
    n_items=st.integers(1, 60),
    listed=st.integers(0, 8),
    avoided=st.integers(1, 6),
    size=st.integers(1, 25),
    seed=st.integers(0, 2**31),
)
def test_candidates_are_different_items_given_ones_first(
    n_items: int, listed: int, avoided: int, size: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    listed = min(listed, n_items)
    given_ids = torch.rand(9, n_items, generator=generator).argsort(dim=1)[:, :listed] + 1
    usable = torch.rand(9, listed, generator=generator) < 0.8
    avoid = torch.randint(0, n_items + 1, (9, avoided), generator=generator)
    ids, real = candidates(given_ids, usable, avoid, n_items, size, generator)
    for row in range(9):
        found = ids[row][real[row]].tolist()
        wanted = given_ids[row][usable[row]].tolist()
        possible = set(range(1, n_items + 1)) - set(avoid[row].tolist()) | set(wanted)
        assert found[: len(wanted)] == wanted[:size]
        assert len(set(found)) == len(found) == min(size, len(possible))
        assert set(found) <= possible
        assert not ids[row][~real[row]].any()


def test_random_items_are_uniform_and_differ_between_rows() -> None:
    items = uniform_items(20, 40_000, 3, torch.Generator().manual_seed(0))
    # One order serves a whole call: rows are uniform over many calls, and places within a call.
    counts = torch.stack([items[:, place].bincount(minlength=21)[1:] for place in range(3)])
    assert ((counts - 2000).abs() < 5 * 2000**0.5).all()
    pairs = torch.zeros(6, 6)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3000):
        first, second = uniform_items(5, 1, 2, generator)[0].tolist()
        pairs[first, second] += 1
    assert (pairs.diagonal() == 0).all()
    off = pairs[1:, 1:][~torch.eye(5, dtype=torch.bool)]
    assert ((off - 150).abs() < 5 * 150**0.5).all()


def test_losses_over_candidates_are_finite_with_none_left() -> None:
    scores = (torch.randn(4, 6) * 50).requires_grad_()
    real = torch.tensor(
        [[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0], [0] * 6]
    ).bool()
    total = ranking_loss(scores, real, torch.softmax(torch.arange(3.0), dim=0)).sum()
    total = total + log_softmax_over(scores, real).sum()
    total.backward()
    assert torch.isfinite(total)
    assert torch.isfinite(scores.grad).all()
    assert not scores.grad[~real].any()
