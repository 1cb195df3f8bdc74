"""The user half of hint, de, htd and ftd: histories beside items, against loops and bounds."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.distillation import Batch, Knowledge
from bench.distillation.histories import EntityMethod
from bench.training.output import BlockBuffers, StepOutput
from methods.de import DistillationExperts
from methods.ftd import FullTopology
from methods.hint import Hint
from methods.htd import HierarchicalTopology

from .conftest import N_ITEMS, N_ROWS, TEACHER_DIM, make_batch, make_student

METHODS: list[type[EntityMethod]] = [Hint, DistillationExperts, HierarchicalTopology, FullTopology]
WIDTH = make_student().width
UNCOVERED = torch.arange(N_ROWS) % 4 == 0


@pytest.fixture
def taught(knowledge: Knowledge) -> Knowledge:
    """A teacher with vectors of histories, a quarter of which are filler."""
    generator = torch.Generator().manual_seed(12)
    histories = 3 + torch.randn(N_ROWS, TEACHER_DIM, generator=generator)
    histories[UNCOVERED] = 0
    return dataclasses.replace(knowledge, histories=histories, covered=~UNCOVERED)


def attached(kind: type[EntityMethod], knowledge: Knowledge, **settings: Any) -> Any:
    torch.manual_seed(5)
    method = kind(kind.Config(**settings))
    method.attach(make_student(), knowledge)
    return method


def said(batch: Batch, hidden: Tensor | None = None) -> StepOutput:
    """A student's answer with histories at `hidden` [B, d]."""
    generator = torch.Generator().manual_seed(3)
    table = torch.randn(N_ITEMS + 1, WIDTH, generator=generator)
    table[0] = 0
    if hidden is None:
        hidden = torch.randn(len(batch.target), WIDTH, generator=generator)
    return StepOutput(hidden, table, BlockBuffers())


def prepared(vectors: Tensor) -> Tensor:
    """Standardised per dimension, then to entries of mean square 1."""
    scaled = (vectors - vectors.mean(dim=0)) / vectors.std(dim=0)
    return scaled / scaled.square().mean().sqrt()


@pytest.mark.parametrize("kind", METHODS)
def test_histories_are_needed_where_they_are_asked_for(kind: type[EntityMethod]) -> None:
    assert kind.signals(kind.Config()) == {"embeddings"}
    assert kind.signals(kind.Config(users=True)) == {"embeddings", "histories"}


@pytest.mark.parametrize("kind", METHODS)
def test_without_users_histories_are_not_read(kind: type[EntityMethod], taught: Knowledge) -> None:
    batch, bare = make_batch(), dataclasses.replace(taught, histories=None)
    with_them = attached(kind, taught).loss(make_batch(), said(batch))
    without = attached(kind, bare).loss(make_batch(), said(batch))
    assert with_them.keys() == without.keys()
    assert all(torch.equal(with_them[name], without[name]) for name in without)


@pytest.mark.parametrize("kind", METHODS)
def test_weight_zero_is_neutral(kind: type[EntityMethod], taught: Knowledge) -> None:
    batch = make_batch()
    hidden = torch.randn(len(batch.target), WIDTH, requires_grad=True)
    terms = attached(kind, taught, users=True, weight=0.0).loss(batch, said(batch, hidden))
    total = torch.stack(list(terms.values())).sum()
    total.backward()
    assert total.item() == 0.0
    assert hidden.grad is None or not hidden.grad.any()


@pytest.mark.parametrize("kind", METHODS)
def test_gradients_reach_covered_histories_alone(
    kind: type[EntityMethod], taught: Knowledge
) -> None:
    batch = make_batch()
    hidden = torch.randn(len(batch.target), WIDTH, requires_grad=True)
    method = attached(kind, taught, users=True)
    torch.stack(list(method.loss(batch, said(batch, hidden)).values())).sum().backward()
    covered = ~UNCOVERED[batch.row_id]
    assert 0 < covered.sum() < len(covered)
    assert torch.equal(hidden.grad.abs().sum(dim=1) > 0, covered)
    assert not method.histories.teacher.requires_grad


@pytest.mark.parametrize("kind", METHODS)
def test_filler_is_not_looked_at(kind: type[EntityMethod], taught: Knowledge) -> None:
    other = taught.histories.clone()
    other[UNCOVERED] = 1e6
    filled = dataclasses.replace(taught, histories=other)
    once = attached(kind, taught, users=True).loss(make_batch(), said(make_batch()))
    again = attached(kind, filled, users=True).loss(make_batch(), said(make_batch()))
    assert all(torch.equal(once[name], again[name]) for name in once)


def test_hint_adds_the_mean_squared_error_of_covered_histories(taught: Knowledge) -> None:
    batch = make_batch()
    out, method = said(batch), attached(Hint, taught, users=True, weight=0.3)
    wanted = torch.zeros(N_ROWS, TEACHER_DIM)
    wanted[~UNCOVERED] = prepared(taught.histories[~UNCOVERED])
    errors = [
        (method.history_regressor(out.hidden[b]) - wanted[row]).square().mean().item()
        for b, row in enumerate(batch.row_id.tolist())
        if not UNCOVERED[row]
    ]
    expected = 0.3 * sum(errors) / len(errors)
    assert method.loss(batch, out)["history-hint"].item() == pytest.approx(expected, rel=1e-5)


def test_de_rebuilds_histories_by_experts_of_their_own(taught: Knowledge) -> None:
    batch = make_batch()
    out, method = said(batch), attached(DistillationExperts, taught, users=True, experts=1)
    expert, errors = method.history_experts, []
    for b, row in enumerate(batch.row_id.tolist()):
        if not UNCOVERED[row]:
            rebuilt = expert.first(out.hidden[b]).relu() @ expert.second + expert.bias[0]
            errors.append((rebuilt - method.histories.teacher[row]).square().mean().item())
    expected = 0.1 * sum(errors) / len(errors)
    assert method.loss(batch, out)["history-experts"].item() == pytest.approx(expected, rel=1e-5)


def entities(method: Any, batch: Batch, out: StepOutput) -> tuple[list[Tensor], list[Tensor]]:
    """Student's and teacher's vectors of the items, then of the covered examples, of a batch."""
    items = sorted({*batch.history.flatten().tolist(), *batch.target.tolist()} - {0})
    rows = [(b, row) for b, row in enumerate(batch.row_id.tolist()) if not UNCOVERED[row]]
    student = [*(out.table[i] for i in items), *(out.hidden[b] for b, _ in rows)]
    teacher = [
        *(method.items.teacher[i] for i in items),
        *(method.histories.teacher[row] for _, row in rows),
    ]
    return student, teacher


def cosine(left: Tensor, right: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(left, right, dim=0))


def test_ftd_compares_all_pairs_of_items_and_histories(taught: Knowledge) -> None:
    batch = make_batch()
    out, method = said(batch), attached(FullTopology, taught, users=True, weight=1.0)
    student, teacher = entities(method, batch, out)
    pairs = [(i, j) for i in range(len(student)) for j in range(len(student)) if i != j]
    errors = [
        (cosine(student[i], student[j]) - cosine(teacher[i], teacher[j])) ** 2 for i, j in pairs
    ]
    expected = sum(errors) / len(errors)
    assert method.loss(batch, out)["topology"].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", [FullTopology, HierarchicalTopology])
def test_items_and_histories_are_prepared_together(
    kind: type[EntityMethod], taught: Knowledge
) -> None:
    method = attached(kind, taught, users=True)
    together = prepared(torch.cat([taught.embeddings[1:], taught.histories[~UNCOVERED]]))
    torch.testing.assert_close(method.items.teacher[1:], together[:N_ITEMS])
    torch.testing.assert_close(method.histories.teacher[~UNCOVERED], together[N_ITEMS:])
    assert not method.items.teacher[0].any() and not method.histories.teacher[UNCOVERED].any()

    narrow = dataclasses.replace(taught, histories=taught.histories[:, :3])
    with pytest.raises(ValueError, match="12 dimensions for items and 3 for histories"):
        attached(kind, narrow, users=True)


def test_htd_with_one_group_each_keeps_items_and_histories_apart(taught: Knowledge) -> None:
    batch = make_batch()
    out = said(batch)
    method = attached(
        HierarchicalTopology, taught, users=True, groups=1, pairs="all", weight=1.0, alpha=1.0
    )
    student, teacher = entities(method, batch, out)
    n = len(student)
    n_items = n - int((~UNCOVERED[batch.row_id]).sum())
    group = [0] * n_items + [1] * (n - n_items)
    within = [
        (cosine(student[i], student[j]) - cosine(teacher[i], teacher[j])) ** 2
        for i in range(n)
        for j in range(n)
        if i != j and group[i] == group[j]
    ]
    means = [
        [
            torch.stack([vectors[i] for i in range(n) if group[i] == g]).mean(dim=0)
            for vectors in (student, teacher)
        ]
        for g in (0, 1)
    ]
    between = [
        (cosine(own, student[i]) - cosine(theirs, teacher[i])) ** 2
        for own, theirs in means
        for i in range(n)
    ]
    expected = sum(within) / len(within) + sum(between) / len(between)
    assert method.loss(batch, out)["topology"].item() == pytest.approx(expected, rel=1e-4)


def test_a_student_like_its_teacher_has_nothing_to_learn(taught: Knowledge) -> None:
    same = dataclasses.replace(
        taught,
        embeddings=torch.randn(N_ITEMS + 1, WIDTH),
        histories=torch.randn(N_ROWS, WIDTH),
    )
    method = attached(FullTopology, same, users=True, normalise="none", weight=1.0)
    batch = make_batch()
    hidden = same.histories[batch.row_id]
    out = StepOutput(hidden, same.embeddings, BlockBuffers())
    assert method.loss(batch, out)["topology"].item() == pytest.approx(0.0, abs=1e-5)
