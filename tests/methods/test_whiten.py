"""WhitenRec's inputs and adapters against their equations."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bench.distillation import Knowledge
from bench.students.adapter import Adapter
from methods.whiten import Whiten

from .conftest import N_ITEMS, TEACHER_DIM, make_batch, make_student


def attached(knowledge: Knowledge, **settings: object) -> tuple[Whiten, Adapter]:
    student = make_student()
    torch.manual_seed(5)
    method = Whiten(Whiten.Config(**settings))
    method.attach(student, knowledge)
    return method, student


def zca(z: np.ndarray) -> np.ndarray:
    """sqrt(N - 1) U V^T of the centred vectors."""
    u, _, vt = np.linalg.svd(z - z.mean(axis=0), full_matrices=False)
    return np.sqrt(len(z) - 1) * u @ vt


@pytest.fixture
def narrow(knowledge: Knowledge) -> Knowledge:
    """A teacher of few dimensions, all of which may be whitened."""
    return dataclasses.replace(knowledge, embeddings=knowledge.embeddings[:, :8] * 3 + 1)


def test_inputs_are_whitened_as_a_whole_and_by_group(narrow: Knowledge) -> None:
    method, _ = attached(narrow, groups=2)
    z = narrow.embeddings[1:].double().numpy()
    whole, grouped = (x[1:].numpy() for x in method.inputs)
    np.testing.assert_allclose(whole, zca(z), atol=1e-5)
    np.testing.assert_allclose(grouped, np.hstack([zca(z[:, :4]), zca(z[:, 4:])]), atol=1e-5)
    np.testing.assert_allclose(np.cov(whole, rowvar=False), np.eye(8), atol=1e-5)
    assert not any(x[0].any() for x in method.inputs)


def test_a_group_for_each_dimension_standardises_it(narrow: Knowledge) -> None:
    z = narrow.embeddings[1:].double().numpy()
    wanted = (z - z.mean(axis=0)) / z.std(axis=0, ddof=1)
    np.testing.assert_allclose(attached(narrow, groups=8)[0].inputs[1][1:], wanted, atol=1e-5)


def test_few_items_are_whitened_in_few_dimensions(knowledge: Knowledge) -> None:
    method, _ = attached(knowledge, groups=1)
    assert method.derived["rank"] == N_ITEMS // 4 < TEACHER_DIM
    assert np.linalg.matrix_rank(method.inputs[0], tol=1e-4) == N_ITEMS // 4
    assert attached(knowledge, groups=1, rank=3)[0].derived["rank"] == 3


def test_the_table_is_what_one_adapter_makes_of_all_inputs(narrow: Knowledge) -> None:
    method, student = attached(narrow, groups=2)
    first, _, last = method.adapter
    assert first.weight.shape == (4, 8)
    made = [np.maximum(_linear(first, x[1:].numpy()), 0) for x in method.inputs]
    wanted = sum(_linear(last, x) for x in made)
    np.testing.assert_allclose(student.item_table()[1:].detach(), wanted, atol=1e-5)
    assert not student.item_table()[0].any()


def test_experts_are_weighed_by_their_gate(narrow: Knowledge) -> None:
    method, student = attached(narrow, adapter="moe", groups=1, temperature=0.07)
    student.eval()
    method.eval()
    mixture, x = method.adapter, method.inputs[0][1:].numpy()
    scores = x @ mixture.gate.weight.detach().numpy().T
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    outputs = _linear(mixture.experts, x).reshape(N_ITEMS, 8, student.width)
    wanted = (shares[:, :, None] * outputs).sum(axis=1)
    np.testing.assert_allclose(method.text()[1:].detach(), wanted, atol=1e-5)
    length = student.item_table()[1:].norm(dim=1).detach()
    np.testing.assert_allclose(length, np.ones(N_ITEMS), rtol=1e-5)
    method.train()
    assert not torch.equal(method.text(), method.text())  # the gate is noisy in training


def _linear(layer: torch.nn.Linear, x: np.ndarray) -> np.ndarray:
    return x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()


@pytest.mark.parametrize("ids", [False, True])
def test_ids_are_trained_beside_the_text_if_asked(narrow: Knowledge, ids: bool) -> None:
    method, student = attached(narrow, ids=ids)
    offset = student.item_offset.detach().clone()
    text = torch.nn.functional.pad(method.text()[1:], (0, 0, 1, 0))
    torch.testing.assert_close(student.item_table(), text + offset if ids else text)
    batch = make_batch()
    hidden = student.encode(batch.history, batch.length, batch.user)
    student.logits(hidden)[:, 1:].logsumexp(dim=1).sum().backward()
    assert (student.item_offset.grad is not None) == ids
    assert all(p.grad.abs().sum() > 0 for p in method.parameters())
    assert not any(p is student.item_offset for p in method.parameters())


def test_an_item_that_nobody_trained_on_has_a_vector(narrow: Knowledge) -> None:
    _, student = attached(narrow)
    student.fold()
    assert int(narrow.target_counts[1]) == 0
    vector = student.item_table()[1]
    assert torch.isfinite(vector).all() and vector.abs().sum() > 0


@pytest.mark.parametrize("transform", ["pca-whiten", "standardise", "none"])
def test_groups_belong_to_zca(knowledge: Knowledge, transform: str) -> None:
    with pytest.raises(ValueError, match="set groups=1"):
        Whiten.Config(transform=transform)
    method, _ = attached(knowledge, transform=transform, groups=1)
    assert len(method.inputs) == 1
    width = N_ITEMS // 4 if transform == "pca-whiten" else TEACHER_DIM
    assert method.inputs[0].shape == (N_ITEMS + 1, width)


def test_groups_must_divide_the_dimensions(knowledge: Knowledge) -> None:
    with pytest.raises(ValueError, match="groups=5 does not divide the 12 teacher dimensions"):
        attached(knowledge, groups=5)
