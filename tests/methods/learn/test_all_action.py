"""The dense all-action loss against loops, and what it may draw."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bench.distillation import Batch
from methods.learn.all_action import Later, all_action_loss

ROWS = SimpleNamespace(
    # Three users whose rows lie in mixed order; the target tells user and ordinal.
    user=torch.tensor([1, 0, 1, 2, 0, 1, 1]),
    ordinal=torch.tensor([3, 1, 1, 5, 2, 2, 4]),
    target=torch.tensor([13, 1, 11, 25, 2, 12, 14]),
)


def batch_of(row_id: list[int], seed: int = 0) -> Batch:
    rows = torch.tensor(row_id)
    return Batch(
        row_id=rows,
        history=torch.ones(len(rows), 1, dtype=torch.int64),
        length=torch.ones(len(rows), dtype=torch.int64),
        target=ROWS.target[rows],
        user=ROWS.user[rows],
        negative=None,
        generator=torch.Generator().manual_seed(seed),
    )


def test_a_row_draws_its_target_and_later_ones_of_its_user_alone() -> None:
    drawn = Later(ROWS).draw(batch_of([2, 0, 6, 1, 3]), 200)
    found = [set(row.tolist()) for row in drawn]
    assert found == [{11, 12, 13, 14}, {13, 14}, {14}, {1, 2}, {25}]
    share = (drawn[0] == 11).float().mean()
    assert 0.15 < float(share) < 0.35  # one of four


def test_draws_come_from_the_generator_of_the_batch() -> None:
    later = Later(ROWS)
    first, same, other = (later.draw(batch_of([2, 2, 0], seed), 20) for seed in (1, 1, 2))
    assert torch.equal(first, same) and not torch.equal(first, other)


@pytest.mark.parametrize("size", [1.0, 40.0])
def test_the_loss_equals_a_loop(size: float) -> None:
    generator = torch.Generator().manual_seed(4)
    queries = size * torch.randn(5, 8, generator=generator)
    keys = torch.randn(5, 3, 8, generator=generator)
    user = torch.tensor([0, 1, 0, 2, 1])
    scores = np.einsum("bd,znd->bzn", queries.double().numpy(), keys.double().numpy())
    terms = [
        np.logaddexp.reduce([own, *scores[r][user.numpy() != int(user[r])].ravel()]) - own
        for r in range(5)
        for own in scores[r, r]
    ]
    assert float(all_action_loss(queries, keys, user)) == pytest.approx(np.mean(terms), rel=1e-5)


def test_a_batch_of_one_user_costs_nothing_and_has_gradients_of_zero() -> None:
    queries, keys = torch.randn(3, 4, requires_grad=True), torch.randn(3, 2, 4)
    loss = all_action_loss(queries, keys, torch.zeros(3, dtype=torch.int64))
    loss.backward()
    assert float(loss.detach()) == 0
    assert queries.grad is not None and not queries.grad.any()
