"""What is allowed and looks wrong is said; what is in order is not doubted."""

from __future__ import annotations

import re

import numpy as np
import pytest

from bench.data.examples import PreparedData
from bench.teachers.contract import check
from bench.teachers.rows import preference
from bench.teachers.summary import list_agreement, summarise, ties_out_of_order

from .conftest import N_ITEMS, N_ROWS, Folder, K


def told(folder: Folder, data: PreparedData) -> dict:
    checked = check(folder.binary(created_by="somebody"), data)
    assert checked.problems == []
    return summarise(checked, data)


@pytest.fixture
def agreeing(folder: Folder) -> Folder:
    """Lists and distances that are those of the embeddings, from a query near some item."""
    random = np.random.default_rng(0)
    query = folder.embeddings[random.integers(N_ITEMS, size=N_ROWS)]
    query = query + random.normal(size=query.shape) / 10
    distance = np.linalg.norm(query[:, None] - folder.embeddings, axis=2)
    order = distance.argsort(axis=1)[:, :K]
    folder.ids = order + 1
    folder.distances = np.take_along_axis(distance, order, axis=1).astype(np.float32)
    return folder


def test_lists_of_the_embeddings_are_not_doubted(agreeing: Folder, data: PreparedData) -> None:
    found = told(agreeing, data)
    assert found["agreement_of_order_and_embeddings"] > 0.5
    assert found["doubts"] == []
    assert found["lists_with_ties_out_of_order"] == 0
    assert found["arrays"]["embeddings"] == f"float32 [{N_ITEMS}, 6]"
    assert found["arrays"]["truth-distance"] == f"float32 [{N_ROWS}]"


def test_embeddings_in_another_order_are_doubted(agreeing: Folder, data: PreparedData) -> None:
    agreeing.embeddings = np.random.default_rng(1).permutation(agreeing.embeddings)
    found = told(agreeing, data)
    (doubt,) = found["doubts"]
    assert "nothing to do with the embeddings" in doubt


def test_agreement_is_spearmans() -> None:
    from scipy.stats import spearmanr

    random = np.random.default_rng(2)
    lists = random.random((40, N_ITEMS)).argsort(axis=1)[:, :8] + 1
    points = random.normal(size=(N_ITEMS, 3)).astype(np.float32)
    found = [
        spearmanr(np.arange(7), np.linalg.norm(points[row[1:] - 1] - points[row[0] - 1], axis=1))[0]
        for row in lists
    ]
    mean, error = list_agreement(lists, points)
    assert mean == pytest.approx(np.mean(found), abs=1e-6)
    assert error == pytest.approx(np.std(found) / 40**0.5, abs=1e-6)


@pytest.mark.parametrize("turned", [0, 3])
def test_ties_of_one_embedding(turned: int, data: PreparedData) -> None:
    """Items 2j - 1 and 2j are one point; in `turned` of 10 lists a pair stands the wrong way."""
    preferred = preference(data)
    place = np.argsort(preferred)
    point = np.arange(N_ITEMS) // 2
    pair = sorted((1, 2), key=lambda item: place[item - 1])
    lists = np.tile([5, *pair, 9], (10, 1))
    lists[:turned, 1:3] = pair[::-1]
    distances = np.tile([1.0, 2.0, 2.0, 3.0], (10, 1))
    assert ties_out_of_order(lists, distances, point, preferred) == turned / 10
    distances[:, 2] = 2.5  # no tie, no rule
    assert ties_out_of_order(lists, distances, point, preferred) == 0


@pytest.mark.parametrize(
    ("rows", "hint"),
    [
        (300, "as many as train and valid have together"),
        (360, "as many as train and valid and test have together"),
        (60, "as many as valid has: rows of evaluation must not be in a teacher"),
        (241, "has 240$"),
    ],
)
def test_rows_of_evaluation_have_a_message_of_their_own(
    rows: int, hint: str, folder: Folder, data: PreparedData
) -> None:
    folder.ids, folder.distances, folder.truth = (
        np.resize(array, (rows, *array.shape[1:]))
        for array in (folder.ids, folder.distances, folder.truth)
    )
    problems = folder.refusal(folder.binary(), data)
    lists = [problem for problem in problems if f"have {rows} rows" in problem]
    assert len(lists) == 2 and len(problems) == 3
    assert all(re.search(hint, problem) for problem in lists), lists


@pytest.mark.parametrize(
    "members",
    [
        ["a", "b"],
        "a and b",
        {"a": "SASRec", "b": ["metrics"]},
        {"a": {"metrics": [0.1]}, "b": {"metrics": {"test": 0.1}}},
    ],
)
def test_a_recipe_of_another_form_tells_nothing_of_members(
    members: object, folder: Folder, lists: np.ndarray, data: PreparedData
) -> None:
    checked = check(folder.ensemble(lists, recipe={"members": members}), data)
    assert checked.problems == []
    told = summarise(checked, data)["trajectories"]["members"]
    assert {name: member["test"] for name, member in told.items()} == {"a": {}, "b": {}}


def test_what_a_recipe_tells_of_members_is_shown(
    folder: Folder, lists: np.ndarray, data: PreparedData
) -> None:
    recipe = {"members": {"b": {"metrics": {"test": {"hr@20": 0.5}}}}}
    told = summarise(check(folder.ensemble(lists, recipe=recipe), data), data)
    assert told["trajectories"]["members"]["b"]["test"] == {"hr@20": 0.5}
