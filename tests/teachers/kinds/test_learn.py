"""The teacher `learn` learns from training rows alone; its distances are those of unit vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from bench.data.examples import PreparedData
from bench.evaluation.metrics import metrics_from_ranks
from bench.teachers.contract import check
from bench.teachers.kinds.learn import LearnOptions, LearnTeacher
from bench.teachers.knowledge import load_knowledge
from bench.teachers.manifest import read_manifest
from bench.teachers.registry import KINDS
from bench.teachers.summary import summarise
from bench.teachers.towers.lists import rank_targets
from bench.teachers.towers.tower import TwoTowers

from ...listening import listening

SMALL = {"width": 32, "heads": 2, "out_width": 16, "batch_size": 32, "list_length": 8}
OPTIONS = LearnOptions(
    **SMALL, dropout=0.0, learning_rate=0.01, pretrain_epochs=6, epochs=6, scale=10
)


@pytest.fixture
def texts(data: PreparedData) -> torch.Tensor:
    return torch.randn(data.n_items, 24, generator=torch.Generator().manual_seed(5))


def test_a_planted_rule_is_learned_in_two_phases(texts: torch.Tensor, data: PreparedData) -> None:
    lines: list[str] = []

    def validate(towers: TwoTowers) -> float:
        return metrics_from_ranks(rank_targets(towers, data.valid).ranked)["ndcg@20"]

    with listening(lines.append):
        fitted = LearnTeacher.fit(texts, data.train, OPTIONS, validate)
    chance = 5 / data.n_items
    assert metrics_from_ranks(rank_targets(fitted.towers, data.test).ranked)["hr@5"] > 4 * chance
    # One phase against the batch, one against the catalogue.
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in lines]
    assert len(losses) == len(fitted.values) > 6
    assert losses[5] < losses[0] and losses[-1] < losses[6]
    assert fitted.values[fitted.story["best_epoch"] - 1] == validate(fitted.towers)


def test_only_training_rows_are_learned_from_and_the_seed_decides(
    texts: torch.Tensor, data: PreparedData
) -> None:
    short = OPTIONS.model_copy(update={"pretrain_epochs": 1, "epochs": 1, "dropout": 0.2})
    state = torch.get_rng_state()
    first, again, other = (
        LearnTeacher.fit(texts, data.train, options, lambda towers: 0.0).towers.points()
        for options in (short, short, short.model_copy(update={"seed": 1}))
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_what_is_built_can_be_read(
    tiny_encoder: Path, make_data: Callable[..., PreparedData], ensure: Callable[..., Path]
) -> None:
    words = ["a b", "c d e", "f", "g h a c", "b e h"]
    data = make_data(
        item_texts=[" ".join(words[(i * k) % 5] for k in (1, 2, i)) for i in range(30)]
    )
    raw = {
        "kind": "learn",
        "options": {**SMALL, "encoder": str(tiny_encoder), "pretrain_epochs": 1, "epochs": 2},
    }
    folder = ensure("learn", raw, data)
    manifest = read_manifest(folder)
    assert set(manifest.signals) == KINDS.get("learn").signals and manifest.members == ["learn"]
    knowledge = load_knowledge(folder, data)
    assert knowledge.embeddings is not None and knowledge.rankings is not None
    assert knowledge.distances is not None and knowledge.truth_distance is not None
    points = knowledge.embeddings[1:].numpy()
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1.0, rtol=1e-5)
    distances = knowledge.distances.numpy()
    assert (np.diff(distances, axis=1) >= 0).all() and distances.min() >= 0
    assert distances.max() <= 2 + 1e-5
    # The distance to a listed target is the one that is told of the target.
    row, place = np.nonzero(knowledge.rankings.numpy() == data.train.target[:, None])
    truth = knowledge.truth_distance.numpy()
    np.testing.assert_allclose(distances[row, place], truth[row], rtol=1e-4)
    assert knowledge.trajectories is not None
    assert knowledge.trajectories.shape == (1, 4, len(data.train), 30)
    last = knowledge.trajectories[0, -1].numpy()
    for ids, best, history in zip(
        last, knowledge.rankings.numpy(), data.train.history, strict=True
    ):
        rest = [item for item in ids.tolist() if item not in set(history.tolist())]
        assert len(set(rest) & set(best.tolist())) >= 7  # near ties round; the target may be seen
    told = summarise(check(folder, data), data)
    assert told["trajectories"]["models"] == 1 and told["trajectories"]["states"] == 4
    assert manifest.recipe["epochs_run"] == 3


def test_heads_share_the_width() -> None:
    with pytest.raises(ValidationError, match="'heads' \\(4\\) must divide 'width' \\(6\\)"):
        LearnOptions(width=6)
