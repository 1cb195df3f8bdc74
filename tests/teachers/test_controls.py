"""A control keeps what the teacher's numbers look like and loses what they are about."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bench.errors import UnknownNameError
from bench.teachers.controls import apply_control
from methods.base import Knowledge


@pytest.fixture
def knowledge() -> Knowledge:
    rows, items = 50, 12
    return Knowledge(
        target_counts=torch.arange(items + 1.0),
        embeddings=torch.cat([torch.zeros(1, 2), torch.arange(1.0, 2 * items + 1).view(-1, 2)]),
        rankings=torch.arange(rows)[:, None] * 10 + torch.arange(3),
        distances=torch.arange(rows)[:, None] * 10.0 + torch.arange(3),
        covered=torch.arange(rows) % 3 > 0,
        truth_distance=torch.arange(rows) * 10.0,
    )


def test_rows_move_together_and_items_among_themselves(knowledge: Knowledge) -> None:
    shuffled = apply_control(knowledge, "shuffled", 7)
    order = shuffled.rankings[:, 0] // 10
    assert sorted(order.tolist()) == list(range(50)) and (order != torch.arange(50)).any()
    assert torch.equal(shuffled.rankings, knowledge.rankings[order])
    assert torch.equal(shuffled.distances, knowledge.distances[order])
    assert torch.equal(shuffled.covered, knowledge.covered[order])
    assert torch.equal(shuffled.truth_distance, knowledge.truth_distance[order])

    items = (shuffled.embeddings[1:, 0] / 2).long()
    assert sorted(items.tolist()) == list(range(12)) and (items != torch.arange(12)).any()
    assert not shuffled.embeddings[0].any()
    assert torch.equal(shuffled.target_counts, knowledge.target_counts)


def test_trajectories_move_with_the_rows(knowledge: Knowledge) -> None:
    lists = (torch.arange(50) * 10).view(1, 1, 50, 1) + torch.arange(24).view(2, 3, 1, 4)
    full = replace(knowledge, trajectories=lists.int(), trajectory_names=("a", "b"))
    shuffled = apply_control(full, "shuffled", 7)
    order = shuffled.rankings[:, 0] // 10
    assert torch.equal(shuffled.trajectories, full.trajectories[:, :, order])
    assert shuffled.trajectories.dtype == torch.int32
    assert shuffled.trajectory_names == ("a", "b")
    assert torch.equal(shuffled.rankings, apply_control(knowledge, "shuffled", 7).rankings)

    alone = Knowledge(knowledge.target_counts, trajectories=full.trajectories)
    moved = apply_control(alone, "shuffled", 7).trajectories
    assert torch.equal(moved, shuffled.trajectories)
    assert torch.equal(alone.trajectories, lists.int())  # the original is left as it is


def test_the_seed_decides(knowledge: Knowledge) -> None:
    once, again, other = (apply_control(knowledge, "shuffled", seed) for seed in (1, 1, 2))
    assert torch.equal(once.rankings, again.rankings)
    assert torch.equal(once.embeddings, again.embeddings)
    assert not torch.equal(once.rankings, other.rankings)
    assert not torch.equal(once.embeddings, other.embeddings)


def test_signals_that_are_not_there_stay_away(knowledge: Knowledge) -> None:
    bare = Knowledge(knowledge.target_counts, embeddings=knowledge.embeddings)
    shuffled = apply_control(bare, "shuffled", 0)
    assert shuffled.rankings is None and shuffled.covered is None
    assert torch.equal(shuffled.embeddings, apply_control(knowledge, "shuffled", 0).embeddings) or (
        sorted(shuffled.embeddings[:, 0].tolist()) == sorted(bare.embeddings[:, 0].tolist())
    )


def test_an_unknown_control(knowledge: Knowledge) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'shuffled'"):
        apply_control(knowledge, "shufled", 0)
