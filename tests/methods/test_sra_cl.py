"""SRA-CL against loops written from its equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bench.distillation import Knowledge
from bench.distillation.in_batch import views_loss
from bench.students.adapter import Adapter
from bench.training.output import BlockBuffers, StepOutput
from methods.sra_cl import SemanticContrast

from .conftest import make_student
from .rows import batch_at, make_rows, with_rows

ROWS = [0, 9, 17, 33, 41]


def attached(knowledge: Knowledge, **settings: object) -> tuple[SemanticContrast, Adapter]:
    student = make_student()
    torch.manual_seed(5)
    method = SemanticContrast(SemanticContrast.Config(**settings))
    method.attach(student, with_rows(knowledge))
    return method, student


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_two_views_of_a_row_are_contrasted_with_all_other_views(temperature: float) -> None:
    left, right = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0)).double()
    views = torch.cat([left, right]).numpy()
    total = 0.0
    for i, view in enumerate(views):
        masses = [math.exp(view @ o / temperature) for j, o in enumerate(views) if j != i]
        own = math.exp(view @ views[(i + 4) % 8] / temperature)
        total -= math.log(own / sum(masses))
    found = views_loss(left, right, temperature)
    assert float(found) == pytest.approx(total / 8)
    assert float(views_loss(left[:1], right[:1], temperature)) == pytest.approx(0)


def test_no_neighbour_is_of_the_rows_own_user(knowledge: Knowledge) -> None:
    method, _ = attached(knowledge)
    user = make_rows().user
    assert (user[method.similar] != user.unsqueeze(1)).all()


def test_attention_equals_a_loop(knowledge: Knowledge) -> None:
    method, _ = attached(knowledge)
    row_id = torch.tensor(ROWS)
    found = method.weights(row_id, method.similar[row_id]).detach().numpy()
    q, W = method.meaning.numpy(), method.map.weight.detach().numpy()
    a = method.attention.weight.detach().numpy()[0]
    for b, row in enumerate(ROWS):
        scores = []
        for other in method.similar[row].tolist():
            score = float(a @ np.concatenate([W @ q[row], W @ q[other]]))
            scores.append(score if score > 0 else 0.2 * score)
        wanted = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(found[b], wanted, rtol=1e-4)


def test_positives_are_attended_states_with_half_of_the_weights_dropped(
    knowledge: Knowledge,
) -> None:
    method, student = attached(knowledge, neighbours=10)
    student.eval()
    rows = make_rows()
    states = student.encode(rows.history, rows.length, rows.user)
    row_id = torch.tensor(ROWS)
    weights = method.weights(row_id, method.similar[row_id])
    batch = batch_at(ROWS)
    draws = torch.stack([method.positives(batch) for _ in range(600)])
    wanted = torch.einsum("bn,bnd->bd", weights, states[method.similar[row_id]])
    spread = draws.std(dim=0) / 600**0.5
    assert ((draws.mean(dim=0) - wanted).abs() < 6 * spread + 1e-6).all()
    assert draws[0].requires_grad  # the positives are taught too
    draws[0].sum().backward()
    assert method.map.weight.grad.any() and student.item_offset.grad.any()


@pytest.mark.parametrize("keep_last", [True, False])
def test_replaced_items_are_similar_ones(knowledge: Knowledge, keep_last: bool) -> None:
    method, _ = attached(knowledge, replace=0.4, keep_last=keep_last, nearest=3)
    batch = batch_at(list(range(64)))
    changed = torch.zeros(batch.history.shape)
    for _ in range(200):
        replaced = method.replaced(batch)
        new = replaced != batch.history
        changed += new
        similar = method.similar_items[batch.history]
        assert (similar == replaced.unsqueeze(2)).any(dim=2)[new].all()
        assert not replaced[batch.history == 0].any()
    share, last = changed / 200, batch.length - 1
    of_last = share.gather(1, last.unsqueeze(1))
    assert float(of_last.mean()) == pytest.approx(0.0 if keep_last else 0.4, abs=0.02)
    before = share.scatter(1, last.unsqueeze(1), 0)[batch.history > 0].sum()
    assert float(before / (batch.length - 1).sum()) == pytest.approx(0.4, abs=0.02)


def test_each_term_can_stand_alone(knowledge: Knowledge) -> None:
    batch = batch_at(ROWS)
    for settings, names in (
        ({}, {"between", "inside"}),
        ({"inside": 0.0}, {"between"}),
        ({"between": 0.0}, {"inside"}),
        ({"between": 0.0, "inside": 0.0}, set()),
    ):
        method, student = attached(knowledge, **settings)
        hidden = student.encode(batch.history, batch.length, batch.user)
        terms = method.loss(batch, StepOutput(hidden, student, BlockBuffers()))
        assert terms.keys() == names


def test_the_weight_of_a_term_is_its_factor(knowledge: Knowledge) -> None:
    def term(between: float) -> float:
        method, student = attached(knowledge, between=between, inside=0.0)
        student.eval()
        batch = batch_at(ROWS)
        hidden = student.encode(batch.history, batch.length, batch.user)
        out = StepOutput(hidden, student, BlockBuffers())
        return float(method.loss(batch, out)["between"].detach())

    assert term(0.5) == pytest.approx(5 * term(0.1))
