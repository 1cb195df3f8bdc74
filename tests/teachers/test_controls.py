"""A control has its teacher's signals and shapes, and what it tells is of known worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.distillation import Knowledge
from bench.errors import UnknownNameError
from bench.signals import CONTROLS
from bench.teachers import controls

ROWS, ITEMS, K = 50, 12, 3
TARGETS = torch.arange(ROWS) % ITEMS + 1


def apply_control(knowledge: Knowledge, control: str, seed: int) -> Knowledge:
    return controls.apply_control(knowledge, control, seed, TARGETS)


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


# -- the others, on a teacher whose ids are ids ----------------------------------------------------


@pytest.fixture
def teacher() -> Knowledge:
    """Lists, an ensemble's trajectories and embeddings over the same 12 items."""
    random = torch.Generator().manual_seed(0)

    def lists(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, ITEMS, generator=random).argsort(-1)[..., :K] + 1

    counts = torch.bincount(TARGETS, minlength=ITEMS + 1).float()
    return Knowledge(
        target_counts=counts,
        embeddings=torch.cat([torch.zeros(1, 4), torch.randn(ITEMS, 4, generator=random)]),
        rankings=lists(ROWS),
        distances=torch.rand(ROWS, K, generator=random).sort(1).values,
        covered=torch.arange(ROWS) % 3 > 0,
        truth_distance=torch.rand(ROWS, generator=random),
        histories=torch.randn(ROWS, 4, generator=random),
        trajectories=lists(2, 3, ROWS).int(),
        trajectory_names=("a", "b"),
    )


def tensors(knowledge: Knowledge) -> dict[str, torch.Tensor]:
    return {name: t for name, t in vars(knowledge).items() if isinstance(t, torch.Tensor)}


SIGNAL_OF = {"distances": "confidence", "truth_distance": "truth-distance"}


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_changes_what_it_says_and_spares_the_original(
    control: str, teacher: Knowledge
) -> None:
    before = {name: tensor.clone() for name, tensor in tensors(teacher).items()}
    after = tensors(apply_control(teacher, control, 3))
    assert after.keys() == before.keys()
    for name, tensor in before.items():
        assert torch.equal(tensors(teacher)[name], tensor), name
        assert after[name].shape == tensor.shape and after[name].dtype == tensor.dtype, name
    changed = {SIGNAL_OF.get(n, n) for n, t in before.items() if not torch.equal(after[n], t)}
    assert changed - {"covered"} == CONTROLS[control]
    for name in ("rankings", "trajectories"):
        lists = after[name].sort(-1).values
        assert lists.min() >= 1 and lists.max() <= ITEMS
        assert (lists[..., 1:] > lists[..., :-1]).all()
    assert (after["distances"].diff(dim=1) >= 0).all()
    assert not after["embeddings"][0].any()


@pytest.mark.parametrize("control", CONTROLS)
def test_every_control_takes_a_teacher_of_one_signal(control: str, teacher: Knowledge) -> None:
    full = tensors(apply_control(teacher, control, 3))
    for signal in ("embeddings", "rankings", "trajectories"):
        alone = Knowledge(teacher.target_counts, **{signal: tensors(teacher)[signal]})
        given = tensors(apply_control(alone, control, 3))
        assert given.keys() == {"target_counts", signal}
        if signal != "embeddings":  # which `shuffled` draws after the rows, if there are any
            assert torch.equal(given[signal], full[signal])


def test_the_halves_of_shuffling(teacher: Knowledge) -> None:
    both, rows = (apply_control(teacher, c, 5) for c in ("shuffled", "shuffled-rows"))
    for name in ("rankings", "distances", "covered", "truth_distance", "trajectories"):
        assert torch.equal(tensors(rows)[name], tensors(both)[name]), name
    assert torch.equal(rows.embeddings, teacher.embeddings)


def test_renamed_items_keep_their_relations(teacher: Knowledge) -> None:
    renamed = apply_control(teacher, "shuffled-items", 5)
    name = dict(
        zip(teacher.rankings.flatten().tolist(), renamed.rankings.flatten().tolist(), strict=True)
    )
    assert sorted(name) == sorted(name.values()) == list(range(1, ITEMS + 1))
    for old, new in name.items():
        assert torch.equal(renamed.embeddings[new], teacher.embeddings[old])
    expected = teacher.trajectories.clone().apply_(name.__getitem__)
    assert torch.equal(renamed.trajectories, expected)


def test_popularity_is_what_counting_tells(teacher: Knowledge) -> None:
    counts = torch.tensor([0.0, 3, 9, 1, 9, 0, 4, 4, 2, 2, 2, 7, 5])
    control = apply_control(replace(teacher, target_counts=counts), "popularity", 0)
    assert control.rankings.tolist() == [[2, 4, 11]] * ROWS
    assert control.trajectories.tolist() == [[[[2, 4, 11]] * ROWS] * 3] * 2
    expected = teacher.distances.numpy()[teacher.covered.numpy()].mean(0)
    np.testing.assert_allclose(control.distances, np.tile(expected, (ROWS, 1)), rtol=1e-6)
    assert torch.equal(control.covered, teacher.covered)

    points = control.embeddings[1:].numpy()
    assert np.linalg.matrix_rank(points, tol=1e-5) == 1
    np.testing.assert_allclose(
        np.corrcoef(points[:, 0], counts[1:].log1p().numpy())[0, 1], 1, rtol=1e-6
    )
    own = teacher.embeddings[1:].numpy()
    size = [np.sqrt(((x - x.mean(0)) ** 2).sum(1).mean()) for x in (points, own)]
    assert size[0] == pytest.approx(size[1], rel=0.05)  # n against n - 1 in the deviation
    first, target = control.embeddings[2], control.embeddings[TARGETS]
    np.testing.assert_allclose(
        control.truth_distance, torch.linalg.vector_norm(first - target, dim=1), rtol=1e-4
    )


def test_popularity_where_every_item_is_as_frequent(teacher: Knowledge) -> None:
    level = replace(teacher, target_counts=torch.tensor([0.0] + [4.0] * ITEMS))
    control = apply_control(level, "popularity", 0)
    assert control.rankings[0].tolist() == [1, 2, 3]
    assert torch.isfinite(control.embeddings).all()


@given(data=st.data(), size=st.integers(1, ITEMS))
def test_the_oracle_names_the_target_first(data: st.DataObject, size: int) -> None:
    items = st.permutations(range(1, ITEMS + 1)).map(lambda order: order[:size])
    listed = data.draw(st.lists(items, min_size=ROWS, max_size=ROWS))
    told = Knowledge(torch.ones(ITEMS + 1), rankings=torch.tensor(listed))
    for before, after, target in zip(
        listed, apply_control(told, "oracle", 0).rankings.tolist(), TARGETS.tolist(), strict=True
    ):
        rest = [item for item in before if item != target]
        assert after == [target, *rest][:size]


def test_the_oracle_is_as_sure_as_the_teacher(teacher: Knowledge) -> None:
    told = apply_control(teacher, "oracle", 0)
    assert torch.equal(told.distances, teacher.distances)
    assert torch.equal(told.embeddings, teacher.embeddings)
    assert torch.equal(told.covered, teacher.covered)
    assert not told.truth_distance.any()
    first = told.trajectories[..., 0]
    assert torch.equal(first, TARGETS.int().expand_as(first))


def test_all_controls_that_can_be_asked_for_are_there(teacher: Knowledge) -> None:
    assert controls._BY_NAME.keys() == CONTROLS.keys()
