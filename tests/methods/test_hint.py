"""Hints against a loop written from the equation."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from bench.distillation import Batch, Knowledge
from bench.training.output import BlockBuffers, StepOutput
from methods.de import DistillationExperts
from methods.hint import Hint

from .conftest import N_ITEMS, make_batch, make_student

WIDTH = make_student().width


def attached(knowledge: Knowledge, **settings: object) -> Hint:
    torch.manual_seed(5)
    method = Hint(Hint.Config(**settings))
    method.attach(make_student(), knowledge)
    return method


def a_table() -> Tensor:
    table = torch.randn(N_ITEMS + 1, WIDTH, generator=torch.Generator().manual_seed(3))
    table[0] = 0
    return table


def term(method: Hint, table: Tensor, batch: Batch | None = None) -> Tensor:
    batch = batch or make_batch()
    output = StepOutput(torch.zeros(len(batch.target), WIDTH), table, BlockBuffers())
    (value,) = method.loss(batch, output).values()
    return value


def items_of(batch: Batch) -> list[int]:
    return sorted({*batch.history.flatten().tolist(), *batch.target.tolist()} - {0})


@pytest.mark.parametrize("projector", ["linear", "mlp"])
def test_the_loss_is_the_mean_squared_error_over_the_items_of_the_batch(
    knowledge: Knowledge, projector: str
) -> None:
    method, table, batch = (
        attached(knowledge, weight=0.3, projector=projector),
        a_table(),
        make_batch(),
    )
    z = knowledge.embeddings[1:]
    z = torch.cat([z[:1] * 0, (z - z.mean(dim=0)) / z.std(dim=0)])
    z = z / z[1:].square().mean().sqrt()
    total, items = 0.0, items_of(batch)
    for i in items:
        error = method.regressor(table[i]).detach() - z[i]
        total += float((error**2).sum()) / z.shape[1]
    expected = 0.3 * total / len(items)
    assert term(method, table, batch).item() == pytest.approx(expected, rel=1e-5)


def test_a_perfect_regressor_leaves_nothing(knowledge: Knowledge) -> None:
    table = a_table()
    method = attached(knowledge, projector="linear", weight=1.0, normalise="none")
    images = table @ method.regressor.weight.T + method.regressor.bias
    taught = dataclasses.replace(knowledge, embeddings=images.detach())
    perfect = attached(taught, projector="linear", weight=1.0, normalise="none")
    assert term(perfect, table).item() == pytest.approx(0, abs=1e-10)
    assert term(method, table).item() > 0.1


@pytest.mark.parametrize("direction", ["up", "down"])
def test_gradients_reach_the_items_of_the_batch_but_not_the_teacher(
    knowledge: Knowledge, direction: str
) -> None:
    method = attached(knowledge, direction=direction)
    table, batch = a_table().requires_grad_(), make_batch()
    term(method, table, batch).backward()
    touched = table.grad.abs().sum(dim=1).nonzero().flatten().tolist()
    assert touched == items_of(batch)
    assert all(p.grad.abs().sum() > 0 for p in method.parameters())
    assert not method.items.teacher.requires_grad
    assert all(p is not method.items.teacher for p in method.parameters())


def test_gradients_are_those_of_finite_differences(knowledge: Knowledge) -> None:
    method = attached(knowledge, weight=1.0).double()
    method.items.teacher = method.items.teacher.double()
    batch, table = make_batch(2), a_table().double()
    item = int(batch.target[0])

    def value(vector: Tensor) -> Tensor:
        return term(method, table.index_copy(0, torch.tensor([item]), vector[None]), batch)

    assert torch.autograd.gradcheck(value, table[item].clone().requires_grad_(), nondet_tol=1e-9)


def test_down_compares_with_principal_components_and_trains_nothing(knowledge: Knowledge) -> None:
    wide = torch.randn(N_ITEMS + 1, 3 * WIDTH, generator=torch.Generator().manual_seed(4))
    for embeddings in (wide, knowledge.embeddings):  # wider and narrower than the student
        taught = dataclasses.replace(knowledge, embeddings=embeddings)
        method = attached(taught, direction="down", weight=1.0)
        assert list(method.parameters()) == []
        size = min(WIDTH, embeddings.shape[1], N_ITEMS)  # no more components than items
        target = method.items.teacher
        assert target.shape == (N_ITEMS + 1, size)
        table, batch = a_table(), make_batch()
        errors = [float(((table[i, :size] - target[i]) ** 2).mean()) for i in items_of(batch)]
        expected = sum(errors) / len(errors)
        assert term(method, table, batch).item() == pytest.approx(expected, rel=1e-5)


def test_the_mlp_is_one_distillation_expert(knowledge: Knowledge) -> None:
    method = attached(knowledge, weight=1.0)
    single = DistillationExperts(DistillationExperts.Config(experts=1, weight=1.0))
    single.attach(make_student(), knowledge)
    first, _, second = method.regressor
    with torch.no_grad():
        first.weight.copy_(single.experts.first.weight)
        first.bias.copy_(single.experts.first.bias)
        second.weight.copy_(single.experts.second.T)
        second.bias.copy_(single.experts.bias[0])
    table, batch = a_table(), make_batch()
    output = StepOutput(torch.zeros(len(batch.target), WIDTH), table, BlockBuffers())
    other = single.loss(batch, output)["experts"]
    torch.testing.assert_close(term(method, table), other)


def test_wider_teachers_are_cut_to_pca_dim(knowledge: Knowledge) -> None:
    assert attached(knowledge, pca_dim=5).items.width == 5
    assert attached(knowledge, pca_dim=5).regressor[2].out_features == 5
