"""Whether a method hands on what a teacher knows, and nothing of one that knows nothing.

A world of groups of items: a row's target is some item of the group of its last one, but two
thirds of the training targets are accidents. The teacher knows the groups: the lists of a row
begin with all items that were meant, and vectors of items of a group are near each other. Methods
that take the observed target out of a list still find the rest of its group there.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bench.config.methods import read_method
from bench.data.examples import Examples, PreparedData
from bench.distillation import Knowledge
from bench.paths import SHIPPED, Workspace
from bench.registry import METHODS

from .conftest import LISTED, N_ITEMS, make_trial, rows, run, trajectories

GROUPS = 6
TAUGHT = [entry.name for entry in METHODS if entry.needs]
TEACHING = {
    # Prompts of k d frozen numbers hold nothing of a row, so its lists teach the student itself.
    "delrec-reverse": {"weight": 1.0},
    # At this step size a start as small as the student's own is forgotten within an epoch.
    "init": {"scale": 0.5},
    # Dot products of what a fresh adapter makes are small, and grow late.
    "whiten": {"temperature": 0.1},
    # What a history means is its last item here, and no mean over its items.
    "llm-esr": {"weight": 0.0},
    "sra-cl": {"inside": 0.3, "nearest": 4, "replace": 0.5, "keep_last": False},
}


def group(items: np.ndarray) -> np.ndarray:
    """Group 0..GROUPS-1 of item ids, which says nothing of a group by itself."""
    return np.random.default_rng(7).permutation(N_ITEMS)[items - 1] % GROUPS


def meant(table: Examples) -> np.ndarray:
    """bool [R, N]: whether an item is one that a row's target was drawn from."""
    last = table.history[np.arange(len(table)), table.length - 1]
    return group(np.arange(1, N_ITEMS + 1)) == group(last)[:, None]


def of_groups(count: int, seed: int, accidents: float) -> Examples:
    random = np.random.default_rng(seed)
    table = rows(count, seed)
    wanted = np.where(random.random((count, 1)) < accidents, True, meant(table))
    target = 1 + (random.random((count, N_ITEMS)) * wanted).argmax(axis=1)
    return dataclasses.replace(table, target=target.astype(np.int32))


@pytest.fixture(scope="module")
def world(data: PreparedData) -> PreparedData:
    return dataclasses.replace(
        data, train=of_groups(200, 1, accidents=2 / 3), valid=of_groups(200, 2, accidents=0)
    )


@pytest.fixture(scope="module")
def wise(world: PreparedData) -> Knowledge:
    generator = torch.Generator().manual_seed(4)
    scores = torch.rand(len(world.train), N_ITEMS, generator=generator)
    scores -= torch.from_numpy(meant(world.train)).float()
    distances = scores.sort(dim=1).values[:, :LISTED]
    centres = 3 * torch.randn(GROUPS, 8, generator=generator)
    own = torch.randn(N_ITEMS, 8, generator=generator)
    items = centres[group(np.arange(1, N_ITEMS + 1))] + own
    last = world.train.history[np.arange(len(world.train)), world.train.length - 1]
    noise = torch.Generator().manual_seed(5)
    histories = centres[group(last)] + torch.randn(len(last), 8, generator=noise)
    return Knowledge(
        target_counts=torch.from_numpy(world.target_counts()).float(),
        embeddings=torch.nn.functional.pad(items, (0, 0, 1, 0)),
        rankings=scores.argsort(dim=1)[:, :LISTED] + 1,
        distances=distances - distances.min(),
        covered=torch.ones(len(world.train), dtype=torch.bool),
        truth_distance=distances[:, 0] - distances.min(),
        histories=histories,
        trajectories=trajectories(scores, generator),
        trajectory_names=("first", "second"),
    )


@pytest.fixture(scope="module")
def ignorant(wise: Knowledge) -> Knowledge:
    """The same knowledge, of other rows and of other items."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(wise.rankings), generator=generator)
    items = 1 + torch.randperm(N_ITEMS, generator=generator)
    return dataclasses.replace(
        wise,
        embeddings=torch.cat([wise.embeddings[:1], wise.embeddings[items]]),
        rankings=wise.rankings[order],
        distances=wise.distances[order],
        histories=wise.histories[order],
        trajectories=wise.trajectories[:, :, order],
    )


def ndcg(method: str, world: PreparedData, knowledge: Knowledge) -> float:
    """On validation, with the strongest of the settings that a search compares."""
    searched = read_method(METHODS.get(method), Workspace(SHIPPED)).search
    training = {"max_epochs": 8, "min_epochs": 8, "learning_rate": 0.01}
    trial = make_trial(
        method, training=training, settings=TEACHING.get(method, searched[-1] if searched else {})
    )
    return run(trial, world, knowledge).metrics["valid"]["ndcg@20"]


@pytest.fixture(scope="module")
def untaught(world: PreparedData, wise: Knowledge) -> float:
    return ndcg("none", world, wise)


@pytest.mark.parametrize("method", TAUGHT)
def test_a_teacher_that_knows_helps_and_one_of_other_rows_and_items_does_not(
    method: str, untaught: float, world: PreparedData, wise: Knowledge, ignorant: Knowledge
) -> None:
    taught, misled = ndcg(method, world, wise), ndcg(method, world, ignorant)
    assert misled < untaught + 0.02
    # learn-aux points histories at the vectors of observed targets, of which most are accidents.
    assert taught > (misled if method == "learn-aux" else untaught) + 0.03
