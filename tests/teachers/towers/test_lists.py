"""Lists and ranks are what the towers' distances say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.data.examples import PreparedData
from bench.teachers.lists import Lists
from bench.teachers.towers.alignment import PreferenceAlignment
from bench.teachers.towers.lists import rank_targets, ranked_lists
from bench.teachers.towers.tower import Towers, TwoTowers


@pytest.fixture(params=["text", "learn"])
def towers(request: pytest.FixtureRequest, data: PreparedData) -> TwoTowers:
    texts = torch.randn(data.n_items, 24, generator=torch.Generator().manual_seed(5))
    if request.param == "text":
        return Towers(texts, 4, width=16, heads=2, feed_forward=16, dropout=0.5).eval()
    return PreferenceAlignment(texts, "l2", 16, 2, 2, 12, 0.5, 20.0).eval()


@torch.no_grad()
def all_distances(towers: TwoTowers, data: PreparedData) -> np.ndarray:
    """Distances of every training row's query to every item, the plain way, [R, N]."""
    rows = data.train
    points = towers.points()
    queries = towers.queries(
        points, torch.tensor(rows.history).long(), torch.tensor(rows.length).long()
    )
    return torch.cdist(queries, points, compute_mode="donot_use_mm_for_euclid_dist").numpy()


@pytest.mark.parametrize("repeated", [False, True])
def test_lists_are_the_closest_items_without_the_history(
    repeated: bool, towers: TwoTowers, data: PreparedData
) -> None:
    if repeated:  # a target that was consumed before stays in the list
        data.train.target[:] = data.train.history[:, 0]
    lists = ranked_lists(towers, data.train, 6)
    ids, distances, truth = lists.ids, lists.distances, lists.truth
    table = all_distances(towers, data)
    np.testing.assert_allclose(
        truth, table[np.arange(len(table)), data.train.target - 1], rtol=1e-4
    )
    for row in range(len(table)):
        seen = set(data.train.history[row].tolist()) - {0, int(data.train.target[row])}
        allowed = [item for item in range(1, data.n_items + 1) if item not in seen]
        expected = sorted(table[row][item - 1] for item in allowed)[:6]
        np.testing.assert_allclose(distances[row], expected, rtol=1e-4)
        np.testing.assert_allclose(table[row][ids[row] - 1], distances[row], rtol=1e-4)
        assert not seen & set(ids[row].tolist())
        assert len(set(ids[row].tolist())) == 6
    assert (np.diff(distances, axis=1) >= 0).all()


def test_ranks_follow_distance(towers: TwoTowers, data: PreparedData) -> None:
    table = all_distances(towers, data)
    own = table[np.arange(len(table)), data.train.target - 1]
    expected = (table <= own[:, None] * (1 + 1e-6)).sum(axis=1)
    assert (np.abs(rank_targets(towers, data.train).ranked - expected) <= 1).all()


def test_padding_says_nothing(towers: TwoTowers) -> None:
    points = towers.points()
    short = torch.tensor([[3, 7, 0, 0]])
    one_wide = torch.tensor([[3, 7]])
    with torch.no_grad():
        torch.testing.assert_close(
            towers.queries(points, short, torch.tensor([2])),
            towers.queries(points, one_wide, torch.tensor([2])),
        )
        order = towers.queries(points, torch.tensor([[7, 3, 0, 0]]), torch.tensor([2]))
    assert not torch.allclose(order, towers.queries(points, short, torch.tensor([2])))


def test_without_its_target_a_list_does_not_depend_on_it(
    towers: TwoTowers, data: PreparedData
) -> None:
    data.train.target[:] = data.train.history[:, 0]
    kept = ranked_lists(towers, data.train, 6)
    before = ranked_lists(towers, data.train, 6, keep_target=False)
    data.train.target[:] = np.roll(data.train.target, 1)
    after = ranked_lists(towers, data.train, 6, keep_target=False)
    np.testing.assert_array_equal(before.ids, after.ids)
    np.testing.assert_array_equal(before.distances, after.distances)
    assert (kept.ids != before.ids).any()
    for row, seen in zip(before.ids, data.train.history, strict=True):
        assert not set(row.tolist()) & set(seen.tolist())


def test_units_and_shares(data: PreparedData) -> None:
    ids = np.tile(np.arange(1, 4, dtype=np.int32), (len(data.train), 1))
    distances = np.ones(ids.shape, dtype=np.float32)
    lists = Lists(ids, distances, distances[:, 0]).in_units(4.0)
    assert (lists.distances == 0.25).all() and (lists.truth == 0.25).all()
    expected = np.mean([target <= 2 for target in data.train.target])
    assert lists.targets_in_top(data.train, 2) == pytest.approx(expected)
