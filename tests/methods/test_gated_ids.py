"""Gated ids against the table and the two terms written out by loops."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bench.distillation import Batch, Knowledge
from bench.students.adapter import Adapter
from bench.training.output import BlockBuffers, StepOutput
from methods.gated_ids import GatedIds

from .conftest import N_ITEMS, TEACHER_DIM, make_batch, make_student

NEVER_ASKED_FOR = [1, 7, 40]


@pytest.fixture
def taught(knowledge: Knowledge) -> Knowledge:
    """Three items are no training target, and every list begins with one of them."""
    counts = knowledge.target_counts.clone()
    counts[NEVER_ASKED_FOR] = 0
    lists = knowledge.rankings.clone()
    lists[:, 0] = torch.tensor(NEVER_ASKED_FOR).repeat(len(lists))[: len(lists)]
    return dataclasses.replace(knowledge, target_counts=counts, rankings=lists)


def attached(knowledge: Knowledge, **settings: object) -> tuple[GatedIds, Adapter]:
    torch.manual_seed(4)
    method, student = GatedIds(GatedIds.Config(**settings)), make_student()
    method.attach(student, knowledge)
    return method, student


def batch_of(knowledge: Knowledge) -> Batch:
    batch = make_batch()
    known = knowledge.target_counts.nonzero()[:, 0]
    return dataclasses.replace(batch, target=known[batch.target % len(known)])


def answer(student: Adapter, batch: Batch) -> StepOutput:
    student.begin_step()
    hidden = student.encode(batch.history, batch.length, batch.user)
    return StepOutput(hidden, student, BlockBuffers())


def test_the_table_is_projected_text_and_gated_ids(taught: Knowledge) -> None:
    method, student = attached(taught, gate=3.0)
    method.eval()
    vectors = taught.embeddings[1:].double().numpy()
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors - vectors.mean(axis=0)
    vectors = vectors / np.sqrt((vectors**2).sum(axis=1).mean())
    table = method.items(student.item_offset).detach().numpy()
    for item in range(1, N_ITEMS + 1):
        count = float(taught.target_counts[item])
        text = method.network(torch.tensor(vectors[item - 1], dtype=torch.float32))
        own = student.item_offset[item].detach().numpy() * count / (count + 3)
        np.testing.assert_allclose(table[item], text.detach().numpy() + own, atol=1e-5)
    ungated, _ = attached(taught, gate=0.0)
    assert {*ungated.gate[1:, 0].tolist()} == {0.0, 1.0}
    assert [*ungated.gate[NEVER_ASKED_FOR, 0]] == [0, 0, 0]


def test_the_terms_are_over_the_items_that_training_asks_for(taught: Knowledge) -> None:
    method, student = attached(taught, top_k=4, list_weight=0.3, temperature=2.0)
    method.eval()
    batch = batch_of(taught)
    out = answer(student, batch)
    terms = {name: float(term.detach()) for name, term in method.loss(batch, out).items()}
    scores = out.logits.detach().double().numpy()
    weights = np.exp(-np.arange(1, 5) / 2.0)
    weights /= weights.sum()
    own, listed = [], []
    for b, target in enumerate(batch.target.tolist()):
        asked = [i for i in range(1, N_ITEMS + 1) if taught.target_counts[i] > 0]
        mass = np.log(np.exp(scores[b, asked]).sum())
        own.append(mass - scores[b, target])
        items = taught.rankings[batch.row_id[b], :4].tolist()
        listed.append(sum(w * (mass - scores[b, i]) for w, i in zip(weights, items, strict=True)))
    assert terms["asked_for"] == pytest.approx(np.mean(own), rel=1e-5)
    assert terms["list"] == pytest.approx(0.3 * np.mean(listed), rel=1e-5)


def test_an_item_that_nobody_asked_for_is_moved_by_lists_alone(taught: Knowledge) -> None:
    for weight in (0.0, 0.5):
        method, student = attached(taught, list_weight=weight)
        table = method.items(student.item_offset).detach().requires_grad_()
        student.replace_items(lambda table=table: table)
        batch = batch_of(taught)
        batch = dataclasses.replace(batch, history=torch.full_like(batch.history, 2))
        sum(method.loss(batch, answer(student, batch)).values()).backward()
        moved = table.grad[NEVER_ASKED_FOR].abs().sum(dim=1) > 0
        assert bool(moved.any()) == bool(weight)


def test_rows_without_a_list_have_the_first_term_alone(taught: Knowledge) -> None:
    nobody = dataclasses.replace(taught, covered=torch.zeros_like(taught.covered))
    method, student = attached(nobody)
    batch = batch_of(taught)
    assert float(method.loss(batch, answer(student, batch))["list"].detach()) == 0


def test_ids_are_dropped_whole_and_in_training_alone(taught: Knowledge) -> None:
    method, student = attached(taught, id_dropout=0.5, text_dropout=0.0)
    with torch.no_grad():
        student.item_offset[1:] = 1.0
        method.network[-1].weight.zero_()
        method.network[-1].bias.zero_()
    method.train()
    table = method.items(student.item_offset).detach()[1:]
    kept = table.ne(0).any(dim=1)
    asked = taught.target_counts[1:] > 0
    assert 0 < int(kept.sum()) < int(asked.sum())
    torch.testing.assert_close(table[kept], method.gate[1:][kept].expand(-1, table.shape[1]))
    method.eval()
    assert torch.equal(method.items(student.item_offset).detach()[1:].ne(0).any(dim=1), asked)


def test_what_is_derived_is_told(taught: Knowledge) -> None:
    method, _ = attached(taught, top_k=99)
    assert method.derived == {
        "top_k": taught.rankings.shape[1],
        "asked_for": int((taught.target_counts > 0).sum()),
    }
    assert method.texts.shape == (N_ITEMS + 1, TEACHER_DIM)
