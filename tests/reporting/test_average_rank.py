"""Average ranks over datasets, against scipy and the table of the paper."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import friedmanchisquare, studentized_range

from bench.reporting.average_rank import average_ranks, critical_difference, friedman, section
from bench.reporting.formats import FORMATS
from bench.reporting.page.content import content
from bench.reporting.render import render, selected
from tests.reporting.conftest import Bench, make_data


@pytest.mark.parametrize(
    ("methods", "datasets", "expected"),
    # Demsar's table 5 has q of 5 %: 1.960, 2.569 and 3.164; his example is k 4, N 14.
    [(2, 10, 1.960 * (2 * 3 / 60) ** 0.5), (4, 14, 1.25), (10, 4, 3.164 * (10 * 11 / 24) ** 0.5)],
)
def test_critical_difference_is_that_of_the_paper(
    methods: int, datasets: int, expected: float
) -> None:
    assert critical_difference(methods, datasets) == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("methods", [2, 7, 60])
def test_critical_difference_is_scipys(methods: int) -> None:
    expected = studentized_range.ppf(0.95, methods, np.inf) * (methods * (methods + 1) / 60) ** 0.5
    assert critical_difference(methods, 5) == pytest.approx(expected, rel=1e-9)


@given(st.integers(3, 6), st.integers(2, 8), st.integers(0, 2**31))
def test_friedman_is_scipys_with_ties(methods: int, datasets: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 4, (methods, datasets))
    ranks = np.array([_ranks(values[:, column]) for column in range(datasets)]).T
    if (values == values[0]).all():
        assert friedman(ranks) == 1.0
    else:
        assert friedman(ranks) == pytest.approx(friedmanchisquare(*values).pvalue)


def _ranks(values: np.ndarray) -> list[float]:
    """1 is the largest; equal ones share."""
    return [1 + (values > v).sum() + ((values == v).sum() - 1) / 2 for v in values]


@pytest.fixture
def two(bench: Bench) -> Bench:
    other = Bench(bench.store.folder, make_data("other", "e" * 64))
    for one, skills in ((bench, (0.3, 0.5, 0.4)), (other, (0.3, 0.45, 0.2))):
        for method, skill in zip(("none", "a", "b"), skills, strict=True):
            one.done(method, skill=skill)
    bench.done("alone", skill=0.9)
    bench.done("a", skill=0.1, control="shuffled")
    return bench


def test_ranks_are_within_each_dataset_of_methods_that_ran_on_all(two: Bench) -> None:
    entries = selected(two.store, ["ndcg@20"])[0]
    (found,) = average_ranks(entries)
    assert found.ranks.to_dict("index") == {
        ("a", "text"): {"other": 1.0, "toy": 1.0},
        ("b", "text"): {"other": 3.0, "toy": 2.0},
        ("none", ""): {"other": 2.0, "toy": 3.0},
    }
    assert found.mean.tolist() == [1.0, 2.5, 2.5]
    assert found.critical == critical_difference(3, 2)
    told = section(entries)
    assert told is not None
    assert told.tables[0].frame["Average rank"].tolist() == ["1.00", "2.50", "2.50"]


def test_a_report_of_several_datasets_has_it(two: Bench) -> None:
    board, runs = selected(two.store)
    for name in ("markdown", "latex", "svg"):
        assert "verage rank over" in FORMATS.load(name)(board, runs)
    shown = content(board, runs)["ranks"]
    assert [each["metric"] for each in shown] == ["ndcg@20", "hr@20"]
    assert shown[0]["title"] == "sasrec (ce), all items ranked"
    assert shown[0]["datasets"] == ["other", "toy"]
    assert shown[0]["lines"][1] == {
        **{"method": "b", "teacher": "text", "mean": 2.5, "told": False},
        "of": [3.0, 2.0],
    }


def test_one_dataset_has_none(bench: Bench) -> None:
    bench.done("none")
    bench.done("a", skill=0.5)
    assert "verage rank" not in render(bench.store)
    assert "verage rank" not in render(bench.store, "svg")
