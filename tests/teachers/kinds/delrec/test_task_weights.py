"""Weights of tasks against a loop over their definition."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.teachers.kinds.delrec.task_weights import task_weights


@given(st.lists(st.integers(-20, 20), min_size=2, max_size=4), st.sampled_from([0.0, 0.5, 1.0]))
def test_weights_follow_the_definition(exponents: list[int], alpha: float) -> None:
    random = torch.Generator().manual_seed(0)
    gradients = [torch.randn(3, 4, generator=random) * 2.0**e for e in exponents]
    powers = []
    for gradient in gradients:
        norm = math.sqrt(sum(float(value) ** 2 for value in gradient.flatten()))
        powers.append((1 / norm) ** alpha)
    expected = [power / sum(powers) for power in powers]
    found = task_weights(gradients, alpha)
    assert found.tolist() == pytest.approx(expected, rel=1e-4)
    assert float(found.sum()) == pytest.approx(1)


def test_the_smaller_gradient_counts_more_and_no_gradient_flows_through() -> None:
    gradients = [torch.ones(4, requires_grad=True), torch.full((4,), 4.0, requires_grad=True)]
    found = task_weights(gradients, 0.5)
    assert found.tolist() == pytest.approx([2 / 3, 1 / 3])
    assert not found.requires_grad


def test_a_task_without_gradient_is_no_division_by_zero() -> None:
    assert task_weights([torch.zeros(2), torch.zeros(2)], 0.5).tolist() == [0.5, 0.5]
    assert torch.isfinite(task_weights([torch.zeros(2), torch.ones(2)], 0.5)).all()
