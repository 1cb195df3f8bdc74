from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.teachers.towers.fitting import full_softmax
from bench.teachers.towers.tower import Towers


def gradients() -> list[torch.Tensor]:
    torch.manual_seed(0)
    towers = Towers(torch.randn(300, 32), 10, 64, 4, 64, 0.0)
    history = torch.randint(1, 301, (512, 10))
    points = towers.items()
    queries = towers.queries(points, history, torch.full((512,), 10))
    towers.logits(points, queries).logsumexp(dim=1).sum().backward()
    return [p.grad for p in towers.parameters() if p.grad is not None]


def test_several_threads_give_the_same_gradients_every_time() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first = gradients()
        for _ in range(5):
            assert all(torch.equal(a, b) for a, b in zip(first, gradients(), strict=True))
    finally:
        torch.set_num_threads(threads)


def test_a_softmax_over_the_targets_leaves_other_items_where_their_texts_put_them() -> None:
    torch.manual_seed(0)
    towers = Towers(torch.randn(30, 16), 5, 32, 4, 32, 0.0)
    # Each item on a parameter of its own, so that its gradient shows who is pushed.
    points = torch.randn(30, 32, requires_grad=True)
    towers.items = lambda: points  # type: ignore[method-assign]
    history, length = torch.randint(1, 5, (8, 5)), torch.full((8,), 5)
    target = torch.tensor([3, 9, 9, 21, 3, 30, 1, 12])
    over = np.array([0, 1, 2, 3, 8, 11, 20, 29])
    value = full_softmax(towers, history, length, target, over)
    logits = towers.logits(points, towers.queries(points, history, length))
    chances = logits.detach().double().softmax(dim=1).numpy()
    own = chances[np.arange(8), target.numpy() - 1] / chances[:, over].sum(axis=1)
    assert float(value.detach()) == pytest.approx(-np.log(own).mean(), rel=1e-5)
    value.backward()
    moved = points.grad.abs().sum(dim=1) > 0  # type: ignore[union-attr]
    assert {*np.flatnonzero(moved)} == {*over}  # histories hold items 1..4 alone


def test_a_softmax_over_all_items_is_that_over_the_targets_where_all_are() -> None:
    torch.manual_seed(0)
    towers = Towers(torch.randn(12, 16), 5, 32, 4, 32, 0.0)
    batch = (torch.randint(1, 13, (8, 5)), torch.full((8,), 5), torch.randint(1, 13, (8,)))
    torch.testing.assert_close(
        full_softmax(towers, *batch, over=np.arange(12)), full_softmax(towers, *batch)
    )
