"""Scores of any items from lists, against a loop."""

from __future__ import annotations

import numpy as np
import torch

from bench.distillation import Knowledge
from bench.distillation.teacher_scores import ListedScores

from ..methods.conftest import N_ITEMS, N_ROWS


def expected(knowledge: Knowledge, row: int) -> np.ndarray:
    """Scores [N] of all items."""
    distances = knowledge.distances[row].double().numpy()
    scores = (distances.mean() - distances) / distances.std()
    everything = np.full(N_ITEMS, scores.min() - 1)
    everything[knowledge.rankings[row] - 1] = scores
    return everything


def test_unlisted_items_lie_one_deviation_below_the_list(knowledge: Knowledge) -> None:
    teacher, rows = ListedScores(knowledge), torch.tensor([5, 0, 17])
    wanted = np.stack([expected(knowledge, row) for row in rows.tolist()])
    np.testing.assert_allclose(teacher.all(rows, N_ITEMS), wanted, atol=1e-5)
    ids = torch.randint(1, N_ITEMS + 1, (3, 60), generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(
        teacher.of(rows, ids), np.take_along_axis(wanted, ids.numpy() - 1, axis=1), atol=1e-5
    )


def test_the_best_items_are_the_first_of_the_list(knowledge: Knowledge) -> None:
    teacher, rows = ListedScores(knowledge), torch.arange(N_ROWS)
    assert torch.equal(teacher.top(rows, 4), knowledge.rankings[:, :4])
    assert torch.equal(teacher.top(rows, 400), knowledge.rankings)
    order = teacher.all(rows, N_ITEMS).topk(4, dim=1).indices + 1
    assert torch.equal(order, knowledge.rankings[:, :4])
