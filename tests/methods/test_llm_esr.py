"""LLM-ESR: what the table is, whom a row is pulled to, and when."""

from __future__ import annotations

import pytest
import torch

from bench.distillation import Knowledge
from bench.students.adapter import Adapter
from bench.training.output import BlockBuffers, StepOutput
from methods.init import Init
from methods.llm_esr import LlmEsr

from .conftest import make_student
from .rows import USERS, batch_at, make_rows, with_rows


def attached(knowledge: Knowledge, **settings: object) -> tuple[LlmEsr, Adapter]:
    student = make_student()
    torch.manual_seed(5)
    method = LlmEsr(LlmEsr.Config(**settings))
    method.attach(student, with_rows(knowledge))
    return method, student


def said(student: Adapter, row_id: list[int]) -> StepOutput:
    batch = batch_at(row_id)
    hidden = student.encode(batch.history, batch.length, batch.user)
    return StepOutput(hidden, student, BlockBuffers())


ROWS = [0, 9, 17, 33]


def test_text_is_added_to_ids_that_start_at_its_components(knowledge: Knowledge) -> None:
    method, student = attached(knowledge)
    started = make_student()
    Init(Init.Config(reducer="pca")).attach(started, knowledge)
    assert torch.equal(student.item_offset, started.item_offset)
    first, last = method.adapter
    text = last(first(method.text[1:]))
    assert (first.out_features, last.out_features) == (6, student.width)
    torch.testing.assert_close(student.item_table()[1:], student.item_offset[1:] + text)
    gated, other = attached(knowledge, view="gate")
    added = other.item_table()[1:] - other.item_offset[1:]
    share = torch.sigmoid(torch.tensor(-2.0))
    torch.testing.assert_close(added, share * gated.adapter(gated.text[1:]), atol=1e-6, rtol=1e-4)
    assert gated.gate.shape == (student.width,)


def test_no_neighbour_is_of_the_rows_own_user(knowledge: Knowledge) -> None:
    method, _ = attached(knowledge, neighbours=7)
    user = make_rows().user
    assert method.similar.shape == (len(user), 7)
    assert (user[method.similar] != user.unsqueeze(1)).all()
    assert len(user.unique()) == USERS


@pytest.mark.parametrize("bank", ["epoch", "step"])
def test_a_row_is_pulled_to_the_mean_state_of_its_neighbours(
    knowledge: Knowledge, bank: str
) -> None:
    method, student = attached(knowledge, bank=bank, weight=0.7)
    rows = make_rows()
    if bank == "epoch":
        assert method.loss(batch_at(ROWS), said(student, ROWS)) == {}
        method.on_epoch_start(1, 9)
        assert method.loss(batch_at(ROWS), said(student, ROWS)) == {}
        method.on_epoch_start(2, 9)
        assert student.training
    student.eval()
    states = student.encode(rows.history, rows.length, rows.user).detach()
    out = said(student, ROWS)
    total = 0.0
    for b, row in enumerate(ROWS):
        wanted = states[method.similar[row]].mean(dim=0)
        total += float((out.hidden[b].detach() - wanted).square().sum()) / student.width
    loss = method.loss(batch_at(ROWS), out)["similar"]
    assert float(loss.detach()) == pytest.approx(0.7 * total / len(ROWS), rel=1e-4)
    hidden = out.hidden.detach().requires_grad_()
    method.loss(batch_at(ROWS), StepOutput(hidden, student, BlockBuffers()))["similar"].backward()
    # The states of neighbours are given: what is encoded in a step leaves no gradient.
    assert all(p.grad is None for p in (*student.parameters(), *method.parameters()))
    wanted = states[method.similar[ROWS]].mean(dim=1)
    torch.testing.assert_close(hidden.grad, 0.7 * 2 * (hidden - wanted).detach() / hidden.numel())


def test_a_row_that_is_its_own_neighbour_has_nothing_to_learn(knowledge: Knowledge) -> None:
    method, student = attached(knowledge, bank="step")
    student.eval()
    method.similar = torch.arange(len(method.similar)).unsqueeze(1)
    loss = method.loss(batch_at(ROWS), said(student, ROWS))["similar"]
    assert float(loss.detach()) == pytest.approx(0, abs=1e-12)


def test_the_bank_is_made_anew_before_each_pass(knowledge: Knowledge) -> None:
    method, student = attached(knowledge)
    method.on_epoch_start(2, 9)
    before = method.states
    with torch.no_grad():
        student.item_offset[1:] += 1.0
    method.on_epoch_start(3, 9)
    assert not torch.allclose(before, method.states)
    assert not method.states.requires_grad
