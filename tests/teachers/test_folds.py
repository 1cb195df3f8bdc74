"""A list out of fold owes nothing to the row it is for, nor to other rows of its user or target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.data.examples import Examples, PreparedData
from bench.errors import BenchError, ConfigError
from bench.teachers.builder import Product
from bench.teachers.folds import OutOfFold, folds_of, out_of_fold
from bench.teachers.kinds.text import TextOptions, TextTeacher
from bench.teachers.lists import Lists

TEXTS = [
    " ".join("abcdefgh"[(i * step) % 8] for step in (1, 2, 3, 5)[: 1 + i % 4]) for i in range(30)
]


@pytest.fixture
def options(tiny_encoder: Path) -> dict[str, Any]:
    return {
        "encoder": str(tiny_encoder),
        "width": 16,
        "heads": 2,
        "feed_forward": 16,
        "batch_size": 32,
        "epochs": 2,
        "learning_rate": 0.01,
        "list_length": 8,
    }


def built(options: dict[str, Any], data: PreparedData, cache: Path) -> Product:
    known = TextOptions(**options)
    return TextTeacher.build(known, data, cache, "cpu")


@pytest.mark.parametrize("by", ["user", "target"])
@pytest.mark.parametrize("folds", [2, 3, 7])
def test_folds_partition_the_rows_and_never_part_a_group(
    folds: int, by: str, toy: PreparedData
) -> None:
    fold = folds_of(toy.train, OutOfFold(folds=folds, by=by), 0)
    assert sorted(set(fold.tolist())) == list(range(folds))
    group = getattr(toy.train, by)
    sizes = []
    for number in range(folds):
        inside, outside = set(group[fold == number]), set(group[fold != number])
        assert not inside & outside
        sizes.append(len(inside))
    assert max(sizes) - min(sizes) <= 1
    np.testing.assert_array_equal(fold, folds_of(toy.train, OutOfFold(folds=folds, by=by), 0))
    assert (fold != folds_of(toy.train, OutOfFold(folds=folds, by=by), 1)).any()


def test_every_row_is_answered_once_and_in_its_place(toy: PreparedData) -> None:
    fold = folds_of(toy.train, OutOfFold(folds=3), 0)
    asked_for: list[int] = []

    def answer(learned: Examples, asked: Examples) -> Lists:
        assert len(learned) + len(asked) == len(toy.train)
        assert not set(learned.user.tolist()) & set(asked.user.tolist())
        asked_for.append(len(asked))
        # Says which row it was asked for.
        key = (asked.user * 1000 + asked.ordinal)[:, None].astype(np.int32)
        return Lists(key, key.astype(np.float32), key[:, 0].astype(np.float32))

    lists = out_of_fold(toy.train, fold, answer)
    assert len(asked_for) == 3 and sum(asked_for) == len(toy.train)
    expected = toy.train.user * 1000 + toy.train.ordinal
    np.testing.assert_array_equal(lists.ids[:, 0], expected)
    np.testing.assert_array_equal(lists.distances[:, 0], expected)
    np.testing.assert_array_equal(lists.truth, expected)


def test_too_few_users(toy: PreparedData) -> None:
    with pytest.raises(BenchError, match=r"out of 21 folds by user need as many users; .* have 20"):
        folds_of(toy.train, OutOfFold(folds=21), 0)


def test_own_targets_have_no_influence_on_a_list(
    options: dict[str, Any], make_data: Callable[..., PreparedData], tmp_path: Path
) -> None:
    """The targets of one user are changed; in-sample that changes the user's own lists."""
    plain, changed = make_data(item_texts=TEXTS), make_data(item_texts=TEXTS)
    own = changed.train.user == 3
    changed.train.target[own] = np.random.default_rng(0).permutation(30)[: own.sum()] + 1
    for by_fold in (False, True):
        fold = {"out_of_fold": {"folds": 2}} if by_fold else {}
        before, after = (built(options | fold, data, tmp_path) for data in (plain, changed))
        for field in ("rankings", "distances"):
            first, second = getattr(before, field), getattr(after, field)
            assert np.array_equal(first[own], second[own]) == by_fold
            assert not np.array_equal(first[~own], second[~own])


def test_out_of_fold_changes_the_lists_alone(
    options: dict[str, Any], make_data: Callable[..., PreparedData], tmp_path: Path
) -> None:
    data = make_data(item_texts=TEXTS)
    plain = built(options, data, tmp_path)
    folded = built(options | {"out_of_fold": {"folds": 3, "by": "target"}}, data, tmp_path)
    np.testing.assert_array_equal(plain.embeddings, folded.embeddings)
    np.testing.assert_array_equal(plain.test_ranks, folded.test_ranks)
    assert plain.metrics == folded.metrics
    assert plain.rankings is not None and folded.rankings is not None
    assert plain.rankings.shape == folded.rankings.shape
    assert folded.covered is None  # every row has a list
    assert folded.distances is not None and (np.diff(folded.distances, axis=1) >= 0).all()
    assert "in-sample" in plain.notes[0] and "out of fold: each of 3 towers" in folded.notes[0]


def test_a_teacher_that_was_built_before_the_option_is_the_default_one(
    options: dict[str, Any], make_data: Callable[..., PreparedData], ensure: Callable[..., Path]
) -> None:
    data = make_data(item_texts=TEXTS)
    config = {"kind": "text", "options": options}
    ensure("t", config, data)
    folded = {"kind": "text", "options": options | {"out_of_fold": {"folds": 2}}}
    with pytest.raises(ConfigError, match=r"out_of_fold\.folds is None there"):
        ensure("t", folded, data)
