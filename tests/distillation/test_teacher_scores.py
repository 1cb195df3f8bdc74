"""Scores of any items, from lists and from vectors, against loops."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bench.distillation import Knowledge
from bench.distillation.teacher_scores import ScoredItems, ScoreSource, teacher_scores

from ..methods.conftest import N_ITEMS, N_ROWS, TEACHER_DIM, make_batch
from ..methods.listwise import told


def standardised(scores: np.ndarray) -> np.ndarray:
    return (scores - scores.mean()) / scores.std()


def expected(knowledge: Knowledge, row: int, source: ScoreSource) -> np.ndarray:
    """Scores [N] of all items."""
    if source == "listed":
        scores = standardised(-knowledge.distances[row].double().numpy())
        everything = np.full(N_ITEMS, scores.min() - 1)
        everything[knowledge.rankings[row] - 1] = scores
        return everything
    q, z = knowledge.histories[row].double().numpy(), knowledge.embeddings[1:].double().numpy()
    return standardised(z @ q if source == "product" else -np.linalg.norm(z - q, axis=1))


SOURCES = ["listed", "product", "distance"]


@pytest.mark.parametrize("source", SOURCES)
def test_scores_of_all_items_and_of_some(knowledge: Knowledge, source: ScoreSource) -> None:
    rows = torch.tensor([5, 0, 17])
    scores = teacher_scores(knowledge, source)(rows)
    wanted = np.stack([expected(knowledge, row, source) for row in rows.tolist()])
    np.testing.assert_allclose(scores.all(), wanted, atol=1e-4)
    ids = torch.randint(1, N_ITEMS + 1, (3, 60), generator=torch.Generator().manual_seed(0))
    chosen = np.take_along_axis(wanted, ids.numpy() - 1, axis=1)
    np.testing.assert_allclose(scores.at(ids), chosen, atol=1e-4)


@pytest.mark.parametrize("source", SOURCES)
def test_the_best_items_are_those_of_the_highest_scores(
    knowledge: Knowledge, source: ScoreSource
) -> None:
    scores = teacher_scores(knowledge, source)(torch.arange(N_ROWS))
    best = scores.all().argsort(dim=1, descending=True) + 1
    assert torch.equal(scores.top(4), best[:, :4])
    most = knowledge.rankings.shape[1] if source == "listed" else N_ITEMS
    assert torch.equal(scores.top(400), best[:, :most])


def test_vectors_of_two_spaces_make_no_scores(knowledge: Knowledge) -> None:
    wide = dataclasses.replace(knowledge, histories=torch.zeros(N_ROWS, TEACHER_DIM + 1))
    with pytest.raises(ValueError, match="13 dimensions and its embeddings 12"):
        teacher_scores(wide, "product")


@pytest.mark.parametrize("source", SOURCES)
def test_a_row_has_its_list_or_the_catalogue(knowledge: Knowledge, source: ScoreSource) -> None:
    batch, out = make_batch(), told()
    items, said, wanted = ScoredItems(knowledge, source, 4).take(batch, out)
    ids = items.expand(len(said), -1)
    assert ids.shape == said.shape == wanted.shape
    assert ids.shape[1] == (4 if source == "listed" else N_ITEMS)
    assert torch.equal(said, out.scores(ids))
    if source == "listed":
        distances = knowledge.distances[batch.row_id, :4]
        raw = ScoredItems(knowledge, source, 4, standardise=False)
        assert torch.equal(raw.take(batch, out)[2], -distances)
        np.testing.assert_allclose(wanted[0], standardised(-distances[0].numpy()), atol=1e-4)
    else:
        assert torch.equal(wanted, teacher_scores(knowledge, source)(batch.row_id).all())
