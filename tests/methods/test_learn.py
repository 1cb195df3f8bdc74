"""LEARN against plain loops: cosine scores, item towers, the in-batch loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bench.distillation import Batch, Knowledge
from bench.distillation.in_batch import in_batch_loss
from bench.students.adapter import Adapter
from bench.training.output import BlockBuffers, StepOutput
from methods.learn.method import Learn

from .conftest import N_ITEMS, make_batch, make_student


def attached(
    knowledge: Knowledge, model: str = "SASRec", **settings: object
) -> tuple[Learn, Adapter]:
    student = make_student(model=model)
    torch.manual_seed(5)
    method = Learn(Learn.Config(**settings))
    method.attach(student, knowledge)
    return method, student.eval()


def vector(method: Learn, item: int) -> torch.Tensor:
    return method.projector(method.content[item])


@pytest.mark.parametrize("tower", ["shared", "mlp", "raw"])
def test_scores_are_scaled_cosines_of_the_two_towers(knowledge: Knowledge, tower: str) -> None:
    method, student = attached(knowledge, item_tower=tower, scale=10.0)
    batch = make_batch(4)
    hidden = student.encode(batch.history, batch.length, batch.user)
    logits = student.logits(hidden)
    for row in range(4):
        items = batch.history[row, : batch.length[row]]
        vectors = torch.stack([vector(method, int(i)) for i in items]).unsqueeze(0)
        user = student.encode_vectors(vectors, batch.length[row : row + 1])[0]
        for item in (1, 7, N_ITEMS):
            own = {
                "raw": lambda i: vector(method, i),
                "mlp": lambda i: method.tower(method.content[i]),
                "shared": lambda i: student.encode_vectors(
                    vector(method, i).view(1, 1, -1), torch.ones(1, dtype=torch.int64)
                )[0],
            }[tower](item)
            cosine = F.cosine_similarity(user, own, dim=0)
            assert float(logits[row, item].detach()) == pytest.approx(
                10 * float(cosine.detach()), abs=1e-4
            )


def test_ids_have_no_say_unless_a_gate_lets_them(knowledge: Knowledge) -> None:
    for ids, moved in (("none", False), ("gate", True)):
        method, student = attached(knowledge, ids=ids)
        before = student.item_table().detach().clone()
        with torch.no_grad():
            student.item_offset[1:] += torch.randn_like(student.item_offset[1:])
        student.begin_step()
        assert torch.equal(student.item_table(), before) is not moved
        assert student.item_offset.requires_grad is moved
        assert hasattr(method, "gate") is moved


def test_scores_do_not_depend_on_the_scale_of_the_teachers_vectors(knowledge: Knowledge) -> None:
    tables = []
    for factor in (1.0, 64.0):
        scaled = Knowledge(knowledge.target_counts, embeddings=factor * knowledge.embeddings)
        tables.append(attached(scaled)[1].item_table().detach())
    torch.testing.assert_close(*tables)


def test_with_l2_only_the_direction_of_a_vector_counts(knowledge: Knowledge) -> None:
    factors = 1 + 9 * torch.rand(N_ITEMS + 1, 1, generator=torch.Generator().manual_seed(3))
    tables = []
    for factor in (torch.ones_like(factors), factors):
        scaled = Knowledge(knowledge.target_counts, embeddings=factor * knowledge.embeddings)
        tables.append(attached(scaled, normalise="l2")[1].item_table().detach())
    torch.testing.assert_close(*tables)


def test_the_base_objective_makes_way_for_the_in_batch_loss(knowledge: Knowledge) -> None:
    assert attached(knowledge)[0].stages()[0].base
    method, student = attached(knowledge, loss="in-batch")
    assert not method.stages()[0].base
    batch = make_batch()
    hidden = student.encode(batch.history, batch.length, batch.user)
    terms = method.loss(batch, StepOutput(hidden, student.item_table(), BlockBuffers()))
    keys = student.item_table()[batch.target]
    assert terms.keys() == {"in_batch"}
    assert float(terms["in_batch"].detach()) == pytest.approx(looped(hidden, keys, batch), rel=1e-5)


def looped(queries: torch.Tensor, keys: torch.Tensor, batch: Batch) -> float:
    scores = (queries.detach().double() @ keys.detach().double().T).numpy()
    total = 0.0
    for row in range(len(scores)):
        known = {*batch.history[row].tolist(), int(batch.target[row])}
        first = {int(item): other for other, item in reversed(list(enumerate(batch.target)))}
        negatives = [scores[row, other] for item, other in first.items() if item not in known]
        mass = np.logaddexp.reduce([scores[row, row], *negatives])
        total += mass - scores[row, row]
    return total / len(scores)


def test_in_batch_loss_equals_a_loop_with_repeated_targets_and_histories() -> None:
    batch = make_batch(12)
    batch.target[3] = batch.target[5]
    batch.history[2, 0] = batch.target[7]
    generator = torch.Generator().manual_seed(1)
    queries, keys = torch.randn(2, 12, 8, generator=generator)
    keys[3] = keys[5]
    found = in_batch_loss(3 * queries, keys, batch)
    assert float(found) == pytest.approx(looped(3 * queries, keys, batch), rel=1e-5)


def test_the_positive_is_never_masked_and_alone_it_costs_nothing() -> None:
    batch = make_batch(4)
    batch.target[:] = batch.target[0]
    queries = torch.randn(4, 8, requires_grad=True)
    loss = in_batch_loss(queries, queries, batch)
    loss.backward()
    assert math.isclose(float(loss.detach()), 0.0, abs_tol=1e-6)
    assert torch.isfinite(queries.grad).all()
