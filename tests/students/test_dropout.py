from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch import nn

from bench.students.dropout import Dropout, replace_dropout

from .conftest import make


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_elements_are_dropped_independently_with_the_probability(p: float) -> None:
    torch.manual_seed(0)
    ones = torch.ones(400, 251)  # no multiple of four
    found = Dropout(p).train()(ones)
    kept = found > 0
    assert binomtest(int((~kept).sum()), kept.numel(), p).pvalue > 1e-3
    torch.testing.assert_close(
        found[kept], torch.full((int(kept.sum()),), 1 / (1 - p)), rtol=1e-4, atol=0
    )
    # Neighbours share a draw: what one loses says nothing of the next three.
    flat = kept.flatten().numpy().astype(float)
    for step in (1, 2, 3, 4):
        assert abs(np.corrcoef(flat[:-step], flat[step:])[0, 1]) < 4 / np.sqrt(len(flat))


def test_gradients_pass_where_elements_do() -> None:
    vectors = torch.randn(64, 10, 7, requires_grad=True)
    found = Dropout(0.25).train()(vectors)
    found.sum().backward()
    torch.testing.assert_close(found, vectors.detach() * vectors.grad)


def test_nothing_is_dropped_in_evaluation_nor_with_probability_zero() -> None:
    vectors = torch.randn(5, 5)
    assert Dropout(0.5).eval()(vectors) is vectors
    assert Dropout(0.0).train()(vectors) is vectors
    assert not Dropout(1.0).train()(vectors).any()


def test_draws_are_those_of_torchs_seed() -> None:
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(Dropout(0.5).train()(torch.ones(100)))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "Caser"])
def test_students_hold_no_other_dropout(model: str) -> None:
    modules = list(make(model).modules())
    assert any(isinstance(module, Dropout) for module in modules)
    assert not any(isinstance(module, nn.Dropout) for module in modules)


def test_a_module_inside_modules_is_replaced_and_keeps_its_probability() -> None:
    nested = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.37)))
    replace_dropout(nested)
    assert nested[1][0].p == 0.37
