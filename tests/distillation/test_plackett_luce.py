from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.distillation.plackett_luce import NO_MASS, log_mass, plackett_luce

SCORES = st.lists(st.floats(-8, 8), min_size=1, max_size=7)


def by_hand(scores: list[float], rest: list[float]) -> float:
    """The equation, literally."""
    return -sum(
        math.log(math.exp(s) / (sum(map(math.exp, scores[k:])) + sum(map(math.exp, rest))))
        for k, s in enumerate(scores)
    )


@given(SCORES, st.lists(st.floats(-8, 8), max_size=4), st.data())
def test_equals_the_equation_whatever_places_are_unusable(
    scores: list[float], rest: list[float], data: st.DataObject
) -> None:
    usable = data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    log_rest = torch.tensor([rest], dtype=torch.float64).logsumexp(dim=1)  # -inf without any
    found = plackett_luce(
        torch.tensor([scores], dtype=torch.float64), torch.tensor([usable]), log_rest
    )
    kept = [s for s, use in zip(scores, usable, strict=True) if use]
    assert float(found) == pytest.approx(by_hand(kept, rest), abs=1e-9)


def test_is_the_likelihood_of_an_order() -> None:
    scores = torch.tensor([[0.3, -1.0, 2.0]], dtype=torch.float64)
    orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
    usable, nothing = torch.ones(1, 3, dtype=torch.bool), torch.tensor([-torch.inf])
    total = sum(float((-plackett_luce(scores[:, o], usable, nothing)).exp()) for o in orders)
    assert total == pytest.approx(1.0)


@pytest.mark.parametrize("rest", [0.4, 60.0, NO_MASS])
def test_gradients_equal_finite_differences(rest: float) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(4, 6, generator=generator, dtype=torch.float64).requires_grad_()
    usable = torch.tensor(
        [[1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 0], [0, 0, 1, 0, 0, 1], [0] * 6], dtype=torch.bool
    )
    below = torch.full((4,), rest, dtype=torch.float64, requires_grad=rest > NO_MASS)
    assert torch.autograd.gradcheck(lambda s, r: plackett_luce(s, usable, r), (scores, below))
    assert torch.autograd.gradcheck(lambda s: log_mass(s, usable)[:3], (scores,))


@pytest.mark.parametrize("rest", [-torch.inf, NO_MASS, -50.0, 0.0, 50.0])
def test_extreme_scores_with_ties_are_finite(rest: float) -> None:
    values = torch.tensor([[50.0, 50.0, -50.0, -50.0, 50.0, -50.0]]).repeat(3, 1).requires_grad_()
    usable = torch.tensor([[1] * 6, [1, 0, 1, 1, 0, 0], [0] * 6], dtype=torch.bool)
    below = torch.full((3,), rest, requires_grad=True)
    loss = plackett_luce(values, usable, below)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(values.grad).all()
    assert torch.isfinite(below.grad).all()
    assert loss[2] == 0
    assert not values.grad[~usable].any()


def test_the_mass_of_nothing_adds_nothing_and_has_no_gradient() -> None:
    scores = torch.tensor([[50.0, -50.0], [1.0, 2.0]], requires_grad=True)
    mass = log_mass(scores, torch.tensor([[False, False], [True, False]]))
    assert mass.tolist() == [pytest.approx(NO_MASS), 1.0]
    mass.sum().backward()
    assert scores.grad.tolist() == [[0.0, 0.0], [1.0, 0.0]]
