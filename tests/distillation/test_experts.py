from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bench.distillation.experts import LARGEST, Experts, annealed

E, WIDTH, TEACHER, COUNT = 7, 4, 6, 3


def make(seed: int = 0) -> tuple[Experts, Tensor, Tensor]:
    torch.manual_seed(seed)
    return Experts(COUNT, WIDTH, TEACHER), torch.randn(E, WIDTH), torch.randn(E, TEACHER)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def test_experts_are_two_layer_networks_mixed_by_shares() -> None:
    experts, student, teacher = make()
    shares = experts.shares(teacher, 0.7, seeded())
    rebuilt = experts(student, teacher, 0.7, seeded())
    middle = (WIDTH + TEACHER) // 2
    for i in range(E):
        expected = torch.zeros(TEACHER)
        for m in range(COUNT):
            units = slice(m * middle, (m + 1) * middle)
            hidden = (experts.first.weight[units] @ student[i] + experts.first.bias[units]).relu()
            expected += shares[i, m] * (experts.second[units].T @ hidden + experts.bias[m])
        torch.testing.assert_close(rebuilt[i], expected)


def test_shares_are_a_gumbel_softmax_of_the_selector() -> None:
    experts, _, teacher = make()
    probabilities = experts.selector(teacher).softmax(dim=1).detach()
    uniform = torch.rand(E, COUNT, generator=seeded())
    shares = experts.shares(teacher, 0.7, seeded())
    for i in range(E):
        raised = [
            math.exp((math.log(probabilities[i, m]) - math.log(-math.log(uniform[i, m]))) / 0.7)
            for m in range(COUNT)
        ]
        expected = torch.tensor([value / sum(raised) for value in raised])
        torch.testing.assert_close(shares[i], expected, atol=1e-5, rtol=1e-4)


def test_cold_shares_pick_one_expert_with_the_selectors_probability() -> None:
    experts, _, teacher = make()
    many = teacher[:1].expand(20_000, -1)
    shares = experts.shares(many, 1e-3, seeded())
    assert torch.isfinite(shares).all()
    assert (shares.max(dim=1).values > 0.99).float().mean() > 0.98
    chosen = torch.bincount(shares.argmax(dim=1), minlength=COUNT) / len(many)
    expected = experts.selector(teacher[0]).softmax(dim=0)
    torch.testing.assert_close(chosen, expected, atol=0.015, rtol=0)


def test_one_expert_gets_everything() -> None:
    torch.manual_seed(0)
    shares = Experts(1, WIDTH, TEACHER).shares(torch.randn(E, TEACHER), 0.5, seeded())
    assert torch.equal(shares, torch.ones(E, 1))


def test_gradients_reach_every_parameter_and_are_finite_when_cold() -> None:
    for temperature in (1.0, 1e-3):
        experts, student, teacher = make()
        error = (experts(student, teacher, temperature, seeded()) - teacher).square().mean()
        error.backward()
        assert all(torch.isfinite(p.grad).all() for p in experts.parameters())
        if temperature == 1.0:
            assert all(p.grad.abs().sum() > 0 for p in experts.parameters())


def test_groups_are_the_likeliest_expert_of_present_items() -> None:
    experts, _, teacher = make()
    present = torch.arange(E) != 2
    groups = experts.groups(teacher, present)
    best = experts.selector(teacher).argmax(dim=1)
    for i in range(E):
        expected = [float(i != 2 and best[i] == m) for m in range(COUNT)]
        assert groups[i].tolist() == expected
    assert not groups.requires_grad


def test_too_many_weights_are_refused_and_the_way_out_is_named() -> None:
    with pytest.raises(ValueError, match="pca_dim"):
        Experts(30, 64, 4096)
    Experts(30, 64, 256)
    middle = (64 + 4096) // 2
    assert 5 * middle * (64 + 4096) < LARGEST  # five experts stand a teacher of full width


def test_the_temperature_falls_from_one_exponentially_to_its_floor() -> None:
    assert annealed(1, 100) == 1.0
    assert annealed(11, 100) == pytest.approx(0.1)
    assert annealed(21, 100) == pytest.approx(0.01)
    assert annealed(31, 100) == pytest.approx(1e-3)
    assert annealed(100, 100) == 1e-3
    assert annealed(1, 1) == 1.0
