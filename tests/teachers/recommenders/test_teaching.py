"""Teachers that are one recommender: no list owes anything to the user that it is for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from bench.baselines.markov import MarkovChain
from bench.config.grid import resolve
from bench.config.selection import Selection
from bench.data.examples import PreparedData
from bench.errors import ConfigError
from bench.paths import Workspace
from bench.teachers.builder import Product, resolved_options
from bench.teachers.config import configured, read_teacher
from bench.teachers.folds import OutOfFold, folds_of
from bench.teachers.kinds import counting, l3ae
from bench.teachers.kinds import self as of_self
from bench.teachers.recommenders import teaching
from bench.teachers.registry import KINDS
from bench.teachers.rows import rows_where

SASREC = {
    "student": "sasrec",
    "recommender": {
        "model": "SASRec",
        "parameters": {"hidden_size": 8, "inner_size": 8, "n_layers": 1},
        "training": {"objective": "ce", "max_epochs": 2, "min_epochs": 1, "learning_rate": 0.01},
    },
}
OF_ONE: list[tuple[ModuleType, str, dict[str, Any]]] = [
    (counting, "counting", {"baseline": "markov"}),
    (of_self, "self", SASREC),
    (l3ae, "l3ae", {"encoder": "random-8"}),
]
IN_SAMPLE = {"out_of_fold": None}


def built(kind: str, data: PreparedData, **options: Any) -> Product:
    builder = KINDS.load(kind)
    known = builder.Options.model_validate({"list_length": 6, **options})
    return builder.build(known, data, Path("unused"), "cpu")


class Watched:
    """A recommender that notes for whom it is asked, and from whom it learned."""

    def __init__(self, member: Any, users: Any, told: list[tuple[set[int], set[int]]]) -> None:
        self.member, self.users, self.told, self.name = member, set(users), told, member.name
        self.story = member.story

    def scores(self, history: Any, length: Any, user: Any) -> Any:
        self.told.append((self.users, set(user.tolist())))
        return self.member.scores(history, length, user)


@pytest.mark.parametrize(("module", "kind", "options"), OF_ONE)
def test_no_training_row_is_scored_by_a_teacher_that_learned_from_its_user(
    module: ModuleType,
    kind: str,
    options: dict[str, Any],
    make_data: Callable[..., PreparedData],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = make_data()
    elsewhere = {  # users without training rows, so that only those have some who learn and list
        split: dataclasses.replace(rows, user=rows.user + 20)
        for split, rows in (("valid", plain.valid), ("test", plain.test))
    }
    data = make_data(user_tokens=[f"u{i}" for i in range(40)], **elsewhere)
    told: list[tuple[set[int], set[int]]] = []

    def watched(train: Any, *others: Any) -> Any:
        wrap = lambda rows: Watched(train(rows), rows.user, told)  # noqa: E731
        product, whole = teaching.teaching(wrap, *others)
        return product, whole.member

    monkeypatch.setattr(module, "teaching", watched)
    everybody = set(data.train.user.tolist())
    built(kind, data, **options)
    listed = [(learned, asked) for learned, asked in told if asked & everybody]
    assert set().union(*(asked for _, asked in listed)) == everybody
    assert all(not learned & asked for learned, asked in listed)
    assert len({frozenset(learned) for learned, _ in told}) == 4  # three folds, and all rows
    told.clear()
    built(kind, data, **options, **IN_SAMPLE)
    assert any(learned & asked for learned, asked in told)


def test_lists_are_the_best_of_what_the_other_folds_counted(toy: PreparedData) -> None:
    product, rows = built("counting", toy, baseline="markov"), toy.train
    fold = folds_of(rows, OutOfFold(), 0)
    for row in range(0, len(rows), 7):
        others = rows_where(rows, fold != fold[row])
        model = MarkovChain().fit(others, toy.n_items)
        scores = model.scores(rows.history[[row]], rows.length[[row]])[0]
        truth = -scores[rows.target[row] - 1]
        scores[rows.history[row][rows.history[row] > 0] - 1] = -np.inf
        assert product.rankings is not None and product.distances is not None
        found = scores[product.rankings[row] - 1]
        np.testing.assert_allclose(found, np.sort(scores)[::-1][:6])
        np.testing.assert_allclose(product.distances[row], -found, rtol=1e-5)
        assert product.truth_distance is not None
        assert product.truth_distance[row] == pytest.approx(truth, rel=1e-5)


def test_lists_of_l3ae_hold_an_item_that_nobody_had_beside_the_one_it_is_worded_like(
    toy: PreparedData,
) -> None:
    """Both are described alike, so that a history with the one asks for the other."""
    wanted = int(np.bincount(toy.train.target).argmax())
    new = toy.n_items + 1
    texts = [f"item {n}" for n in range(1, new)]
    data = dataclasses.replace(
        toy,
        item_tokens=[*toy.item_tokens, "new"],
        item_texts=[*texts, texts[wanted - 1]],
    )
    product = built("l3ae", data, encoder="random-64", list_length=3)
    assert product.rankings is not None
    np.testing.assert_array_equal(product.embeddings[new - 1], product.embeddings[wanted - 1])
    with_it = (toy.train.history == wanted).any(axis=1)
    listed = (product.rankings == new).any(axis=1)
    assert listed[with_it].mean() > 0.5 > listed[~with_it].mean()


def test_inner_products_of_item_vectors_are_cosines_of_consumption(toy: PreparedData) -> None:
    users = np.zeros((20, toy.n_items))
    for history, target, user in zip(
        toy.train.history, toy.train.target, toy.train.user, strict=True
    ):
        users[user, [item - 1 for item in (*history, target) if item]] = 1
    unit = users / np.linalg.norm(users, axis=0).clip(1)
    found = counting.item_vectors(toy.train, toy.n_items, 64)
    assert found.shape == (toy.n_items, 19) and found.dtype == np.float32
    exact = counting.item_vectors(toy.train, toy.n_items, 5).astype(np.float64)
    values, axes = np.linalg.eigh(unit.T @ unit)
    nearest = (axes[:, -5:] * values[-5:]) @ axes[:, -5:].T
    np.testing.assert_allclose(exact @ exact.T, nearest, atol=1e-5)
    np.testing.assert_allclose(exact, found[:, :5], atol=1e-6)
    nobody = rows_where(toy.train, toy.train.target != 0)
    wider = counting.item_vectors(nobody, toy.n_items + 1, 5)
    assert not wider[-1].any()


def test_a_student_that_teaches_is_trained_from_another_seed_and_scores_by_its_vectors(
    toy: PreparedData,
) -> None:
    state = torch.get_rng_state()
    product = built("self", toy, **SASREC, histories=True, **IN_SAMPLE)
    assert torch.equal(torch.get_rng_state(), state)
    again = built("self", toy, **SASREC, histories=True, **IN_SAMPLE)
    other = built("self", toy, **SASREC, **IN_SAMPLE, seed=1)
    assert product.embeddings is not None and product.histories is not None
    np.testing.assert_array_equal(product.embeddings, again.embeddings)
    assert not np.array_equal(product.embeddings, other.embeddings)
    scores = product.histories @ product.embeddings.T
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    assert product.rankings is not None and product.distances is not None
    listed = np.take_along_axis(logs, product.rankings - 1, axis=1)
    np.testing.assert_allclose(product.distances, -listed, rtol=1e-4)
    assert "in-sample" in product.notes[0]
    with pytest.raises(ValueError, match="must not tell of a row that it learned from"):
        built("self", toy, **SASREC, histories=True)


def test_a_teacher_of_the_kind_self_is_that_of_each_student(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    chosen = Selection(
        datasets=["movielens"],
        methods=["none", "soft-label"],
        students=["sasrec", "gru4rec"],
        teachers=["self"],
    )
    grid = resolve(chosen, workspace)
    pairs = [(spec.student, spec.teacher) for spec in grid.trials if spec.teacher]
    assert pairs == [("sasrec", "self-sasrec"), ("gru4rec", "self-gru4rec")]
    config = read_teacher("self-gru4rec", workspace)
    options = resolved_options(config, "movielens", workspace, "here")
    assert isinstance(options, of_self.SelfOptions)
    assert options.recommender.model == "GRU4Rec" and options.recommender.training is not None
    # It may teach other students, too, under its own name.
    (crossed,) = resolve(
        chosen.model_copy(update={"teachers": ["self-gru4rec"], "students": ["narm"]}), workspace
    ).trials[1:]
    assert crossed.teacher == "self-gru4rec"
    with pytest.raises(ConfigError, match="as in --teacher self-sasrec"):
        resolved_options(read_teacher("self", workspace), "movielens", workspace, "here")
    assert configured(workspace)["self-narm"] == ("self", {"student": "narm"})
    with pytest.raises(ConfigError, match="self-sasrec"):
        read_teacher("self-sasre", workspace)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baseline": "item-kn"}, "item-knn"),
        ({"baseline": "item-knn", "parameters": {"neighbors": 3}}, "neighbors"),
    ],
)
def test_a_baseline_that_is_not_there_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        counting.CountingOptions.model_validate(options)
