"""The in-batch alignment of LEARN against loops written from the equation."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bench.distillation import Batch, Knowledge
from bench.distillation.in_batch import candidates
from bench.training.output import BlockBuffers, StepOutput
from methods.learn_aux import LearnAux

from .conftest import N_ITEMS, batch_of, make_batch, make_student

WIDTH = make_student().width


def attached(knowledge: Knowledge, **settings: object) -> LearnAux:
    torch.manual_seed(5)
    method = LearnAux(LearnAux.Config(**settings))
    method.attach(make_student(), knowledge)
    return method


def hidden_of(size: int) -> Tensor:
    return torch.randn(size, WIDTH, generator=torch.Generator().manual_seed(9))


def term(method: LearnAux, batch: Batch, hidden: Tensor | None = None) -> Tensor:
    hidden = hidden_of(len(batch.target)) if hidden is None else hidden
    output = StepOutput(hidden, torch.zeros(N_ITEMS + 1, WIDTH), BlockBuffers())
    return method.loss(batch, output)["alignment"]


def cosine(left: Tensor, right: Tensor) -> float:
    return float((left @ right / (left.norm() * right.norm())).detach())


# Targets repeat, stand in histories of other rows and in the row's own.
TRICKY = batch_of(
    [[1, 2, 0], [4, 0, 0], [6, 7, 4], [4, 5, 0], [8, 0, 0]],
    [4, 5, 6, 4, 9],
)


@pytest.mark.parametrize("projector", ["linear", "mlp"])
@pytest.mark.parametrize("batch", [TRICKY, make_batch(40)], ids=["tricky", "random"])
def test_the_loss_is_that_of_the_loop(knowledge: Knowledge, projector: str, batch: Batch) -> None:
    method = attached(knowledge, weight=0.3, scale=7.0, projector=projector)
    hidden = hidden_of(len(batch.target))
    targets = batch.target.tolist()
    total = 0.0
    for r, own in enumerate(targets):
        query = method.user.weight @ hidden[r]
        rivals = set(targets) - set(batch.history[r].tolist()) - {own}
        score = {
            j: 7.0 * cosine(query, method.item(method.teacher[j])) for j in sorted(rivals | {own})
        }
        total -= score[own] - math.log(sum(math.exp(value) for value in score.values()))
    expected = 0.3 * total / len(targets)
    assert term(method, batch, hidden).item() == pytest.approx(expected, rel=1e-4)


@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 6), min_size=2, max_size=2), st.integers(1, 6)),
        min_size=1,
        max_size=7,
    )
)
def test_candidates_are_distinct_unseen_targets_and_always_the_positive(
    rows: list[tuple[list[int], int]],
) -> None:
    history, target = [h for h, _ in rows], [t for _, t in rows]
    found = candidates(torch.tensor(target), torch.tensor(history))
    for r, own in enumerate(target):
        columns = found[r].nonzero().flatten().tolist()
        assert r in columns
        items = [target[j] for j in columns]
        assert len(set(items)) == len(items)
        assert set(items) == (set(target) - set(history[r])) | {own}


def test_the_scale_of_the_teacher_does_not_matter(knowledge: Knowledge) -> None:
    louder = dataclasses.replace(knowledge, embeddings=knowledge.embeddings * 50)
    for how in ("l2", "standardise"):
        pair = [term(attached(k, normalise=how), TRICKY) for k in (knowledge, louder)]
        torch.testing.assert_close(*pair)
    # Of each item on its own, with l2.
    factors = torch.rand(N_ITEMS + 1, 1, generator=torch.Generator().manual_seed(0)) + 0.5
    uneven = dataclasses.replace(knowledge, embeddings=knowledge.embeddings * factors)
    pair = [term(attached(k, normalise="l2"), TRICKY) for k in (knowledge, uneven)]
    torch.testing.assert_close(*pair)
    pair = [term(attached(k, normalise="none"), TRICKY) for k in (knowledge, louder)]
    assert not torch.allclose(*pair)


def test_the_student_keeps_its_items(knowledge: Knowledge) -> None:
    student, plain = make_student(), make_student()
    method = LearnAux(LearnAux.Config())
    method.attach(student, knowledge)
    assert torch.equal(student.item_table(), plain.item_table())
    batch = make_batch()
    encoded = [s.eval().encode(batch.history, batch.length, batch.user) for s in (student, plain)]
    assert torch.equal(*encoded)


def test_gradients_reach_hidden_states_and_projectors_but_not_the_teacher(
    knowledge: Knowledge,
) -> None:
    method = attached(knowledge)
    hidden = hidden_of(len(TRICKY.target)).requires_grad_()
    term(method, TRICKY, hidden).backward()
    assert hidden.grad.abs().sum(dim=1).min() > 0
    assert all(p.grad.abs().sum() > 0 for p in method.parameters())
    assert not method.teacher.requires_grad


def test_gradients_are_those_of_finite_differences(knowledge: Knowledge) -> None:
    method = attached(knowledge, weight=1.0).double()
    method.teacher = method.teacher.double()
    hidden = hidden_of(len(TRICKY.target)).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda h: term(method, TRICKY, h), hidden)


def test_a_batch_without_negatives_and_hidden_states_of_zero_are_harmless(
    knowledge: Knowledge,
) -> None:
    alone = batch_of([[1, 2], [3, 0]], [5, 5])
    assert term(attached(knowledge), alone).item() == pytest.approx(0, abs=1e-6)
    hidden = torch.zeros(len(TRICKY.target), WIDTH).requires_grad_()
    value = term(attached(knowledge), TRICKY, hidden)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(hidden.grad).all()
