"""Distillation experts against a loop written from the equation."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from bench.distillation import Batch, Knowledge
from bench.distillation.entities import batch_items
from bench.training.output import BlockBuffers, StepOutput
from methods.de import DistillationExperts

from .conftest import N_ITEMS, make_batch, make_student

WIDTH = make_student().width


def attached(knowledge: Knowledge, **settings: object) -> DistillationExperts:
    torch.manual_seed(5)
    method = DistillationExperts(DistillationExperts.Config(**settings))
    method.attach(make_student(), knowledge)
    return method


def output_of(batch: Batch, table: Tensor) -> StepOutput:
    return StepOutput(torch.zeros(len(batch.target), WIDTH), table, BlockBuffers())


def a_table() -> Tensor:
    return torch.randn(N_ITEMS + 1, WIDTH, generator=torch.Generator().manual_seed(3))


def test_the_loss_is_the_squared_error_of_the_mixture(knowledge: Knowledge) -> None:
    method, table = attached(knowledge, experts=4, weight=0.3), a_table()
    method.on_epoch_start(3, 40)
    value = method.loss(make_batch(), output_of(make_batch(), table))["experts"]
    # The same draws, in the same order: which items, then the noise of their shares.
    batch = make_batch()
    ids, present = batch_items(batch, 1024)
    teacher = method.items.teacher
    shares = method.experts.shares(teacher[ids], 1e-10 ** (2 / 40), batch.generator)
    middle = (WIDTH + teacher.shape[1]) // 2
    total, count = 0.0, 0
    for row, i in enumerate(ids.tolist()):
        if not present[row]:
            continue
        count += 1
        rebuilt = torch.zeros(teacher.shape[1])
        for m in range(4):
            units = slice(m * middle, (m + 1) * middle)
            first = method.experts.first
            hidden = (first.weight[units] @ table[i] + first.bias[units]).relu()
            expert = method.experts.second[units].T @ hidden + method.experts.bias[m]
            rebuilt = rebuilt + shares[row, m] * expert
        total += float(((teacher[i] - rebuilt) ** 2).sum().detach()) / teacher.shape[1]
    distinct = {*batch.history.flatten().tolist(), *batch.target.tolist()} - {0}
    assert count == len(distinct)
    assert value.item() == pytest.approx(0.3 * total / count, rel=1e-5)


def test_gradients_reach_items_experts_and_selector_but_not_the_teacher(
    knowledge: Knowledge,
) -> None:
    method, table = attached(knowledge), a_table().requires_grad_()
    batch = make_batch()
    method.loss(batch, output_of(batch, table))["experts"].backward()
    assert table.grad[batch.target].abs().sum(dim=1).min() > 0
    assert not table.grad[0].any()
    assert all(p.grad.abs().sum() > 0 for p in method.parameters())
    assert not method.items.teacher.requires_grad


def test_the_temperature_falls_and_is_told(knowledge: Knowledge) -> None:
    method = attached(knowledge)
    told = [method.on_epoch_start(epoch, 10)["temperature"] for epoch in (1, 2, 3, 10)]
    assert told == pytest.approx([1.0, 0.1, 0.01, 1e-3])
    assert method.temperature == told[-1]


def test_the_loss_stays_finite_at_the_lowest_temperature(knowledge: Knowledge) -> None:
    method, table = attached(knowledge), torch.zeros(N_ITEMS + 1, WIDTH).requires_grad_()
    method.on_epoch_start(10, 10)
    batch = make_batch()
    method.loss(batch, output_of(batch, table))["experts"].backward()
    assert torch.isfinite(table.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in method.parameters())


def test_a_teacher_too_wide_for_thirty_experts_is_refused(knowledge: Knowledge) -> None:
    wide = dataclasses.replace(knowledge, embeddings=torch.randn(N_ITEMS + 1, 4096))
    with pytest.raises(ValueError, match=r"30 experts .* 4096 dimensions .* pca_dim"):
        attached(wide, pca_dim=None)
    assert attached(wide, pca_dim=8).items.width == 8
