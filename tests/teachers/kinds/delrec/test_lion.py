"""Lion against its equations, one number at a time."""

from __future__ import annotations

import numpy as np
import torch

from bench.teachers.kinds.delrec.lion import Lion


def test_steps_follow_the_equations() -> None:
    random = np.random.default_rng(0)
    start, gradients = random.normal(size=5), random.normal(size=(7, 5))
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimiser = Lion([parameter], learning_rate=0.1, weight_decay=0.5)
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient)
        optimiser.step()
    for place in range(5):
        p, v = float(start[place]), 0.0
        for g in gradients[:, place]:
            p = (1 - 0.1 * 0.5) * p - 0.1 * np.sign(0.9 * v + 0.1 * g)
            v = 0.99 * v + 0.01 * g
        assert abs(parameter[place].item() - p) < 1e-12


def test_what_has_no_gradient_stays() -> None:
    parameters = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    parameters[0].grad = torch.ones(2)
    Lion(parameters, learning_rate=0.1, weight_decay=0.5).step()
    assert not torch.equal(parameters[0], torch.ones(2))
    assert torch.equal(parameters[1], torch.ones(2))
