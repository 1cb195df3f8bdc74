"""Full topology distillation against a loop over pairs."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bench.distillation import Batch, Knowledge
from bench.distillation.entities import directions
from bench.training.output import BlockBuffers, StepOutput
from methods.ftd import FullTopology, topology_difference

from .conftest import N_ITEMS, make_batch, make_student

WIDTH = make_student().width


def attached(knowledge: Knowledge, **settings: object) -> FullTopology:
    method = FullTopology(FullTopology.Config(**settings))
    method.attach(make_student(), knowledge)
    return method


def term(method: FullTopology, table: Tensor, batch: Batch | None = None) -> Tensor:
    batch = batch or make_batch()
    output = StepOutput(torch.zeros(len(batch.target), table.shape[1]), table, BlockBuffers())
    return method.loss(batch, output)["topology"]


def a_table() -> Tensor:
    return torch.randn(N_ITEMS + 1, WIDTH, generator=torch.Generator().manual_seed(3))


def cosine(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True)) / (
        math.hypot(*left) * math.hypot(*right)
    )


def test_the_loss_is_the_mean_over_pairs(knowledge: Knowledge) -> None:
    method, table, batch = attached(knowledge, weight=0.3), a_table(), make_batch()
    items = sorted({*batch.history.flatten().tolist(), *batch.target.tolist()} - {0})
    student, teacher = table.tolist(), method.items.teacher.tolist()
    pairs = [(i, j) for i in items for j in items if i != j]
    errors = [
        (cosine(student[i], student[j]) - cosine(teacher[i], teacher[j])) ** 2 for i, j in pairs
    ]
    expected = 0.3 * sum(errors) / len(pairs)
    assert term(method, table, batch).item() == pytest.approx(expected, rel=1e-4)


def test_identical_spaces_and_their_rotations_leave_nothing(knowledge: Knowledge) -> None:
    method = attached(knowledge, weight=1.0)
    own = method.items.teacher
    rotation, _ = torch.linalg.qr(torch.randn(own.shape[1], own.shape[1]))
    for space in (own, 3 * own, own @ rotation, own.flip(1)):  # reordered axes are rotated ones
        assert term(method, space).item() == pytest.approx(0, abs=1e-6)
    assert term(method, own.roll(1, dims=0)).item() > 1e-2


def test_rotating_and_stretching_the_student_changes_nothing(knowledge: Knowledge) -> None:
    method, table = attached(knowledge), a_table()
    rotation, _ = torch.linalg.qr(torch.randn(WIDTH, WIDTH))
    torch.testing.assert_close(term(method, table), term(method, 2.5 * table @ rotation))


@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 6), st.integers(0, 10_000))
def test_products_of_dimensions_give_the_sum_over_pairs(
    items: int, width: int, teacher_dim: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(items, width, generator=generator, dtype=torch.float64)
    teacher = torch.randn(items, teacher_dim, generator=generator, dtype=torch.float64)
    expected = (student @ student.T - teacher @ teacher.T).square().sum()
    torch.testing.assert_close(topology_difference(student, teacher), expected)


def test_gradients_are_those_of_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(5, 3, generator=generator, dtype=torch.float64).requires_grad_()
    teacher = directions(torch.randn(5, 4, generator=generator, dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda s: topology_difference(directions(s), teacher), student)


def test_gradients_reach_the_items_of_the_batch_only(knowledge: Knowledge) -> None:
    method, table, batch = attached(knowledge), a_table().requires_grad_(), make_batch(4)
    term(method, table, batch).backward()
    items = sorted({*batch.history.flatten().tolist(), *batch.target.tolist()} - {0})
    assert table.grad.abs().sum(dim=1).nonzero().flatten().tolist() == items
    assert list(method.parameters()) == []


def test_a_lone_item_and_vectors_of_no_length_are_harmless(knowledge: Knowledge) -> None:
    lone = dataclasses.replace(
        make_batch(2), history=torch.tensor([[3, 0], [3, 3]]), target=torch.tensor([3, 3])
    )
    for batch in (lone, make_batch()):
        table = torch.zeros(N_ITEMS + 1, WIDTH).requires_grad_()
        value = term(attached(knowledge), table, batch)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(table.grad).all()
