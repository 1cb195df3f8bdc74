"""The start of the item table against what its papers say of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bench.distillation import Knowledge
from methods.init import Init

from .conftest import N_ITEMS, TEACHER_DIM, make_student

WHITENED = N_ITEMS // 4
"""Fewer than the teacher's dimensions."""


def started(knowledge: Knowledge, **settings: object) -> tuple[Init, np.ndarray]:
    """The method, and the item table that it left, float64 [N + 1, d]."""
    student = make_student()
    method = Init(Init.Config(**settings))
    torch.manual_seed(3)
    method.attach(student, knowledge)
    return method, student.item_table().detach().double().numpy()


def centred(knowledge: Knowledge) -> np.ndarray:
    z = knowledge.embeddings[1:].double().numpy()
    return z - z.mean(axis=0)


def scaled(rows: np.ndarray) -> np.ndarray:
    return rows / rows.std(ddof=1)


def test_pca_keeps_every_inner_product_up_to_one_factor(knowledge: Knowledge) -> None:
    method, table = started(knowledge, reducer="pca")
    z, x = centred(knowledge), table[1:, :TEACHER_DIM]
    np.testing.assert_allclose(scaled(x @ x.T), scaled(z @ z.T), atol=1e-5)
    assert method.derived["components"] == TEACHER_DIM
    assert method.derived["explained_variance"] == pytest.approx(1)


def test_whitened_columns_are_orthonormal_up_to_one_factor(knowledge: Knowledge) -> None:
    method, table = started(knowledge, reducer="whiten")
    x = table[1:, :WHITENED]
    gram = x.T @ x
    np.testing.assert_allclose(gram / gram[0, 0], np.eye(WHITENED), atol=1e-5)
    assert method.derived["components"] == WHITENED


def test_ace_equals_its_equation(knowledge: Knowledge) -> None:
    _, table = started(knowledge, strength=0.4)
    u, s, _ = np.linalg.svd(centred(knowledge), full_matrices=False)
    u, s = u[:, :WHITENED], s[:WHITENED]
    wanted = u * np.sqrt(s**2 / (s**2 + 0.4 * (s**2).mean()))
    np.testing.assert_allclose(
        scaled(np.abs(table[1:, :WHITENED])), scaled(np.abs(wanted)), rtol=1e-4
    )


def test_ace_lies_between_whiten_and_pca(knowledge: Knowledge) -> None:
    whiten, pca = (started(knowledge, reducer=name)[1] for name in ("whiten", "pca"))
    none, most = (started(knowledge, strength=strength)[1] for strength in (0.0, 1e12))
    np.testing.assert_array_equal(none, whiten)
    kept = (slice(1, None), slice(WHITENED))
    np.testing.assert_allclose(scaled(most[kept]), scaled(pca[kept]), atol=1e-5)


@pytest.mark.parametrize("reducer", ["ace", "pca", "whiten", "select", "random"])
@pytest.mark.parametrize("scale", ["like", 0.5])
def test_the_table_has_one_scale_and_no_padding(
    knowledge: Knowledge, reducer: str, scale: float | str
) -> None:
    method, table = started(knowledge, reducer=reducer, scale=scale)
    own = make_student().item_offset[1:].detach()
    wanted = float(own.std()) if scale == "like" else scale
    count = method.derived["components"]
    assert 0 < count <= own.shape[1]
    assert table[1:, :count].std(ddof=1) == pytest.approx(wanted, rel=1e-4)
    assert not table[0].any()
    # What the teacher does not fill is the student's own start, at that scale.
    rest = own[:, count:] * (wanted / float(own.std()))
    np.testing.assert_allclose(table[1:, count:], rest, rtol=1e-5)
    np.testing.assert_array_equal(started(knowledge, reducer=reducer, scale=scale)[1], table)


@pytest.mark.parametrize("reducer", ["ace", "pca", "whiten"])
def test_shuffled_items_have_the_same_spectrum(knowledge: Knowledge, reducer: str) -> None:
    order = torch.randperm(N_ITEMS, generator=torch.Generator().manual_seed(1)) + 1
    shuffled = dataclasses.replace(
        knowledge, embeddings=torch.cat([knowledge.embeddings[:1], knowledge.embeddings[order]])
    )
    tables = [started(k, reducer=reducer)[1][1:, :WHITENED] for k in (knowledge, shuffled)]
    np.testing.assert_allclose(tables[1], tables[0][order - 1], atol=1e-6)
    spectra = [np.linalg.svd(table, compute_uv=False) for table in tables]
    np.testing.assert_allclose(*spectra, rtol=1e-4)


def test_selected_columns_are_the_teachers_own(knowledge: Knowledge) -> None:
    wide = torch.randn(N_ITEMS + 1, 200, generator=torch.Generator().manual_seed(0))
    wide *= 1 + torch.arange(200) % 7
    many = dataclasses.replace(knowledge, embeddings=wide)
    popular = knowledge.target_counts[1:].topk(N_ITEMS // 5).indices + 1
    variances = wide[popular].double().var(dim=0)
    for how in ("variance", "uniform", "random"):
        table = scaled(started(many, reducer="select", select=how)[1][1:])
        difference = [
            [np.abs(scaled(column * 1.0) - scaled(z)).max() for z in wide[1:].double().numpy().T]
            for column in table.T
        ]
        taken = np.argmin(difference, axis=1)
        assert np.min(difference, axis=1).max() < 1e-4
        assert len(set(taken)) == 64
        if how == "variance":
            assert set(taken) == set(variances.topk(64).indices.tolist())
        if how == "uniform":
            assert taken.tolist() == list(range(0, 192, 3))


def test_a_projection_keeps_distances_roughly(knowledge: Knowledge) -> None:
    _, table = started(knowledge, reducer="random")
    z, x = centred(knowledge), table[1:]
    apart = [np.linalg.norm(m[:, None] - m, axis=2)[~np.eye(N_ITEMS, dtype=bool)] for m in (z, x)]
    assert np.corrcoef(*apart)[0, 1] > 0.8


def test_vectors_of_one_length_have_no_lengths(knowledge: Knowledge) -> None:
    longer = knowledge.embeddings * torch.arange(1, N_ITEMS + 2).unsqueeze(1)
    tables = [
        started(dataclasses.replace(knowledge, embeddings=z), reducer="pca", normalise="l2")[1]
        for z in (knowledge.embeddings, longer)
    ]
    np.testing.assert_allclose(*tables, atol=1e-6)


def test_a_frozen_table_is_trained_from_the_second_stage_on(knowledge: Knowledge) -> None:
    student = make_student()
    method = Init(Init.Config(freeze_epochs=3))
    method.attach(student, knowledge)
    first, second = method.stages()
    assert first.max_epochs == 3
    ids = {id(p) for p in first.trained}
    assert ids == {id(p) for p in student.parameters()} - {id(student.item_offset)}
    assert second.trained is None and second.max_epochs is None
    assert not list(method.parameters())
