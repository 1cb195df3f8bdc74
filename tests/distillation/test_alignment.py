"""Losses between paired vectors against loops written from their equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.distillation.alignment import contrast, cosine_distance, redundancy

E, WIDTH = 9, 4


def pair(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    left, right = torch.randn(2, E, WIDTH, generator=generator, dtype=torch.float64)
    return left, right, torch.rand(E, generator=generator) > 0.3


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_contrast_equals_a_loop_over_the_items_that_are_there(temperature: float) -> None:
    left, right, present = pair()
    there = np.flatnonzero(present)
    x, z = left.numpy(), right.numpy()
    total = 0.0
    for i in there:
        masses = [math.exp(cosine(x[i], z[j]) / temperature) for j in there]
        total -= math.log(math.exp(cosine(x[i], z[i]) / temperature) / sum(masses))
    found = float(contrast(left, right, present, temperature))
    assert found == pytest.approx(total / len(there))


def test_the_contrast_is_least_where_vectors_as_unlike_as_can_be_meet_their_own() -> None:
    # Orthogonal vectors after centring: a query of uncentred ones would lean away from the others.
    z = 3 * torch.eye(WIDTH, dtype=torch.float64) - 3 / WIDTH
    present = torch.ones(WIDTH, dtype=torch.bool)
    x = (2 * z).requires_grad_()
    assert float(cosine_distance(x, z, present).detach()) == pytest.approx(0)
    loss = contrast(x, z, present, 0.2)
    loss.backward()
    assert x.grad.abs().max() < 1e-9
    for seed in range(20):
        noise = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(seed))
        assert contrast(2 * z + noise, z, present, 0.2) > loss


def test_redundancy_equals_numpy() -> None:
    left, right, present = pair()
    x, f = left.numpy()[present], right.numpy()[present]
    correlations = np.corrcoef(x, f, rowvar=False)[:WIDTH, WIDTH:]
    off = correlations[~np.eye(WIDTH, dtype=bool)]
    wanted = ((np.diag(correlations) - 1) ** 2).sum() + 0.3 * (off**2).sum()
    assert float(redundancy(left, right, present, 0.3)) == pytest.approx(wanted / WIDTH)


def test_redundancy_pulls_nowhere_where_correlations_are_the_identity() -> None:
    rows = torch.randn(E, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    orthogonal = torch.linalg.qr(rows - rows.mean(dim=0)).Q
    x = (7 * orthogonal + 2).requires_grad_()
    loss = redundancy(x, orthogonal, torch.ones(E, dtype=torch.bool), 0.3)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-12)
    assert x.grad.abs().max() < 1e-7


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_the_order_of_items_and_what_stands_where_none_is_do_not_matter(seed: int) -> None:
    left, right, present = pair(seed)
    order = torch.randperm(E, generator=torch.Generator().manual_seed(seed))
    poisoned = left.masked_fill(~present.unsqueeze(1), 1e4)
    for loss in (
        lambda x, z, there: contrast(x, z, there, 0.2),
        cosine_distance,
        lambda x, z, there: redundancy(x, z, there, 0.3),
    ):
        before = loss(left, right, present)
        torch.testing.assert_close(loss(left[order], right[order], present[order]), before)
        torch.testing.assert_close(loss(poisoned, right, present), before)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_items_divide_by_nothing(count: int) -> None:
    left, right, _ = pair()
    x = left.clone().requires_grad_()
    present = torch.arange(E) < count
    for loss in (contrast(x, right, present, 0.2), redundancy(x, right, present, 0.3)):
        x.grad = None
        loss.backward()
        assert float(loss.detach()) == pytest.approx(0)
        assert torch.isfinite(x.grad).all()
