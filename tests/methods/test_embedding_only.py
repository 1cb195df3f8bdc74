from __future__ import annotations

import dataclasses

import pytest
import torch

from bench.distillation import Knowledge
from methods.embedding_only import EmbeddingOnly

from .conftest import make_batch, make_student


def attached(knowledge: Knowledge, **settings: object) -> tuple[EmbeddingOnly, object]:
    student = make_student().eval()
    torch.manual_seed(5)
    method = EmbeddingOnly(EmbeddingOnly.Config(**settings))
    method.attach(student, knowledge)
    return method, student


def test_the_item_table_is_offset_plus_projection(knowledge: Knowledge) -> None:
    method, student = attached(knowledge, weight=0.3, normalise="none")
    linear = method.projector
    z = knowledge.embeddings[1:]
    expected = student.item_offset[1:] + 0.3 * (z @ linear.weight.T + linear.bias)
    torch.testing.assert_close(student.item_table()[1:], expected)
    assert torch.equal(student.item_table()[0], torch.zeros(student.width))
    table = student.item_table().detach().clone()
    student.fold()
    assert torch.equal(student.item_table(), table)
    assert torch.equal(student.item_offset, table)


def test_input_side_alone_leaves_the_head_to_the_student(knowledge: Knowledge) -> None:
    _, student = attached(knowledge, inject="input")
    hidden = torch.randn(3, student.width)
    other = dataclasses.replace(knowledge, embeddings=knowledge.embeddings.flip(0))
    _, changed = attached(other, inject="input")
    assert torch.equal(student.logits(hidden), changed.logits(hidden))
    batch = make_batch()
    encoded = [s.encode(batch.history, batch.length, batch.user) for s in (student, changed)]
    assert not torch.allclose(*encoded)


@pytest.mark.parametrize("projector", ["linear", "mlp"])
def test_gradients_reach_offset_and_projector_but_not_the_teacher(
    knowledge: Knowledge, projector: str
) -> None:
    method, student = attached(knowledge, projector=projector)
    student.train()
    batch = make_batch()
    hidden = student.encode(batch.history, batch.length, batch.user)
    student.logits(hidden)[:, 1:].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())
    assert student.item_offset.grad[1:].abs().sum() > 0
    assert torch.equal(student.item_offset.grad[0], torch.zeros(student.width))
    assert not method.teacher.requires_grad


def test_without_offset_an_item_is_its_projection_alone(knowledge: Knowledge) -> None:
    method, student = attached(knowledge, weight=0.3, normalise="none", offset=False)
    linear, z = method.projector, knowledge.embeddings[1:]
    expected = 0.3 * (z @ linear.weight.T + linear.bias)
    torch.testing.assert_close(student.item_table()[1:], expected)
    ids = make_batch().history
    torch.testing.assert_close(student.items(ids), student.item_table()[ids])
    assert torch.equal(student.item_table()[0], torch.zeros(student.width))
    student.item_table().square().sum().backward()
    assert student.item_offset.grad is None
    assert linear.weight.grad.abs().sum() > 0
    table = student.item_table().detach().clone()
    student.fold()
    assert torch.equal(student.item_table(), table)


def test_a_head_without_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="set inject=both"):
        EmbeddingOnly.Config(offset=False, inject="input")
