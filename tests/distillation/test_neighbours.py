"""Similar rows and items against NumPy."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.distillation import Knowledge
from bench.distillation import neighbours as module
from bench.distillation.neighbours import meanings, nearest, nearest_items

from ..methods.conftest import N_ITEMS


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000),
    rows=st.integers(2, 40),
    groups=st.integers(2, 9),
    count=st.integers(1, 12),
)
def test_neighbours_are_the_most_similar_of_other_groups(
    seed: int, rows: int, groups: int, count: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(rows, 5, generator=generator)
    group = torch.randint(groups, (rows,), generator=generator)
    group[:2] = torch.tensor([0, 1])
    found = nearest(vectors, group, count).numpy()
    unit = vectors.numpy() / np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = unit @ unit.T
    least = rows - int(group.bincount().max())
    assert found.shape == (rows, min(count, least))
    for row in range(rows):
        others = np.flatnonzero(group != group[row])
        assert set(found[row]) <= set(others)
        best = np.sort(likeness[row, others])[::-1][: found.shape[1]]
        np.testing.assert_allclose(likeness[row, found[row]], best, atol=1e-5)


def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    group = torch.arange(30) // 3
    whole = nearest(vectors, group, 5)
    monkeypatch.setattr(module, "CHUNK", 7)
    assert torch.equal(nearest(vectors, group, 5), whole)


def test_rows_of_one_user_have_no_neighbours() -> None:
    with pytest.raises(ValueError, match="all training rows are of one user"):
        nearest(torch.randn(4, 2), torch.zeros(4, dtype=torch.int64), 1)


def test_similar_items_are_others_and_padding_has_none(knowledge: Knowledge) -> None:
    z = knowledge.embeddings[1:].numpy()
    z = (z - z.mean(axis=0)) / z.std(axis=0)
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    likeness = unit @ unit.T - 9 * np.eye(N_ITEMS)
    found = nearest_items(knowledge.embeddings, 3)
    np.testing.assert_array_equal(found[1:], likeness.argsort(axis=1)[:, ::-1][:, :3] + 1)
    assert not found[0].any()
    assert nearest_items(knowledge.embeddings, 400).shape == (N_ITEMS + 1, N_ITEMS - 1)


def test_a_history_is_the_mean_of_its_items(knowledge: Knowledge) -> None:
    rows = SimpleNamespace(history=torch.tensor([[3, 4, 4], [7, 0, 0]]))
    known = dataclasses.replace(knowledge, rows=rows)
    z = knowledge.embeddings[1:].double().numpy()
    z = (z - z.mean(axis=0)) / z.std(axis=0)
    wanted = np.stack([(z[2] + 2 * z[3]) / 3, z[6]])
    found = meanings(known, "mean").numpy()
    np.testing.assert_allclose(found / found[0, 0], wanted / wanted[0, 0], rtol=1e-4)


def test_or_what_the_teacher_makes_of_it(knowledge: Knowledge) -> None:
    q = knowledge.histories.double().numpy()
    wanted = (q - q.mean(axis=0)) / q.std(axis=0)
    found = meanings(knowledge, "histories").numpy()
    np.testing.assert_allclose(found / found[0, 0], wanted / wanted[0, 0], rtol=1e-3, atol=1e-4)
