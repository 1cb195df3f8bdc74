"""AlphaFuse's table against its equation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bench.distillation import Knowledge
from bench.students.adapter import Adapter
from methods.alphafuse import AlphaFuse

from .conftest import N_ITEMS, make_batch, make_student

WIDTH = 64
KEPT = N_ITEMS // 4


def attached(
    knowledge: Knowledge, dim: int | None = None, **settings: object
) -> tuple[AlphaFuse, Adapter]:
    if dim is not None:
        noise = torch.randn(N_ITEMS + 1, dim, generator=torch.Generator().manual_seed(0))
        knowledge = dataclasses.replace(knowledge, embeddings=noise)
    student = make_student()
    torch.manual_seed(5)
    method = AlphaFuse(AlphaFuse.Config(**settings))
    method.attach(student, knowledge)
    return method, student


def whitened(embeddings: torch.Tensor, count: int) -> np.ndarray:
    """The first principal components at variance 1, up to their signs."""
    z = embeddings[1:].double().numpy()
    values, axes = np.linalg.eigh(np.cov(z, rowvar=False))
    best = np.argsort(values)[::-1][:count]
    return (z - z.mean(axis=0)) @ axes[:, best] / np.sqrt(values[best])


@pytest.mark.parametrize("form", ["add", "clip"])
@pytest.mark.parametrize("dim", [4, 12])
def test_the_table_is_whitened_text_and_ids(knowledge: Knowledge, form: str, dim: int) -> None:
    method, student = attached(knowledge, dim, form=form, scale=2.0, null_fraction=0.9)
    table = student.item_table().detach().numpy() / 2
    text = 6  # of 64 dimensions those without ids
    kept = min(dim, KEPT if form == "add" else text)
    ids = method.ids.detach().numpy()[1:]
    assert ids.shape == (N_ITEMS, WIDTH - min(text, kept))
    wanted = np.zeros((N_ITEMS, WIDTH))
    noise = torch.randn(N_ITEMS + 1, dim, generator=torch.Generator().manual_seed(0))
    made = whitened(noise, kept)
    alone = made[:, : WIDTH - ids.shape[1]]
    np.testing.assert_allclose(np.abs(table[1:, : alone.shape[1]]), np.abs(alone), atol=1e-5)
    wanted[:, :kept] = method.language[1:, :kept]
    np.testing.assert_allclose(np.abs(wanted[:, :kept]), np.abs(made), atol=1e-5)
    wanted[:, WIDTH - ids.shape[1] :] += ids
    np.testing.assert_allclose(table[1:], wanted, atol=1e-6)
    assert not table[0].any()
    assert method.derived["components"] == kept


def test_the_language_is_frozen_at_variance_one(knowledge: Knowledge) -> None:
    method, student = attached(knowledge)
    np.testing.assert_allclose(method.language[1:, :KEPT].var(dim=0), np.ones(KEPT), rtol=1e-4)
    assert not method.language.requires_grad
    assert [name for name, _ in method.named_parameters()] == ["ids"]
    assert not student.item_offset.requires_grad
    batch = make_batch()
    hidden = student.encode(batch.history, batch.length, batch.user)
    student.logits(hidden)[:, 1:].logsumexp(dim=1).sum().backward()
    assert student.item_offset.grad is None
    assert method.ids.grad[1:].abs().sum() > 0
    assert not method.ids.grad[0].any()


def test_ids_in_all_dimensions_are_a_plain_table(knowledge: Knowledge) -> None:
    own = make_student().item_table()
    _, student = attached(knowledge, form="clip", null_fraction=1.0, start="student")
    assert torch.equal(student.item_table(), own)


@pytest.mark.parametrize(("start", "spread"), [("normal", 1.0), ("zeros", 0.0)])
def test_ids_start_as_asked(knowledge: Knowledge, start: str, spread: float) -> None:
    method, _ = attached(knowledge, start=start)
    assert float(method.ids.detach().std()) == pytest.approx(spread, abs=0.05)


@pytest.mark.parametrize("scores", ["dot", "cosine"])
def test_the_folded_student_scores_as_the_trained_one(knowledge: Knowledge, scores: str) -> None:
    _, student = attached(knowledge, scores=scores)
    student.eval()
    batch = make_batch()

    def ranking() -> torch.Tensor:
        hidden = student.encode(batch.history, batch.length, batch.user)
        return student.logits(hidden).argsort(dim=1)

    before = ranking()
    student.fold()
    assert torch.equal(ranking(), before)
    assert sum(p.numel() for p in student.parameters()) - (N_ITEMS + 1) * WIDTH * (
        scores == "cosine"
    ) == sum(p.numel() for p in make_student().parameters())


def test_popular_items_shape_the_covariance_if_asked(knowledge: Knowledge) -> None:
    plain, weighted = (attached(knowledge, popularity=on)[0].language for on in (False, True))
    assert not torch.allclose(plain, weighted)
