"""What `bench tune` compares: listed settings, or draws from ranges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bench.config.grid import resolve
from bench.config.methods import MethodFile
from bench.config.search import Search
from bench.config.selection import Selection
from bench.errors import ConfigError
from bench.paths import Workspace
from bench.registry import METHODS

RANGES = {
    "weight": {"low": 0.1, "high": 10, "scale": "log"},
    "ranking.top_k": {"low": 5, "high": 9, "whole": True},
    "share": {"low": 0.0, "high": 1.0},
    "form": ["a", "b"],
}


def draws(samples: int, seed: int = 0, method: str = "mine") -> list[dict[str, Any]]:
    file = MethodFile(ranges=RANGES, search=[{"weight": 1.0}])
    return Search(samples=samples, seed=seed).settings(method, file.search, file.ranges)


@given(st.integers(0, 2**31))
def test_draws_are_within_their_ranges(seed: int) -> None:
    for one in draws(5, seed):
        assert 0.1 <= one["weight"] <= 10 and 0 <= one["share"] <= 1
        assert one["ranking"]["top_k"] in range(5, 10) and one["form"] in "ab"
        assert type(one["ranking"]["top_k"]) is int


def test_a_log_scale_has_as_many_draws_below_its_middle_as_above() -> None:
    weights = np.array([one["weight"] for one in draws(2000)])
    assert (weights < 1).mean() == pytest.approx(0.5, abs=0.05)
    assert {one["ranking"]["top_k"] for one in draws(200)} == {5, 6, 7, 8, 9}


def test_more_samples_begin_with_the_fewer_and_other_seeds_and_methods_differ() -> None:
    assert draws(8)[:3] == draws(3) != draws(3, seed=1)
    assert draws(3) != draws(3, method="other")
    file = MethodFile(ranges=dict(reversed(RANGES.items())))
    assert Search(samples=3).settings("mine", [], file.ranges) == draws(3)


def test_without_samples_the_listed_settings_are_taken() -> None:
    assert Search().settings("mine", [{"weight": 1}], {}) == [{"weight": 1}]
    assert Search().settings("mine", [], {}) == Search(samples=4).settings("none", [], {}) == [{}]
    with pytest.raises(ConfigError, match="the file of mine has no `ranges`"):
        Search(samples=4).settings("mine", [{"weight": 1}], {})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"low": 2, "high": 1}, "must be less than high"),
        ({"low": 0, "high": 1, "scale": "log"}, "begins above 0"),
        ({"low": 0.5, "high": 2, "whole": True}, "between whole ends"),
        ([], "at least 1 item"),
    ],
)
def test_ranges_that_nothing_can_be_drawn_from(wrong: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MethodFile(ranges={"weight": wrong})


def test_every_shipped_method_that_is_searched_has_ranges_of_settings_it_knows(
    tmp_path: Any,
) -> None:
    """The same number for each; methods without settings are taken once."""
    names = [entry.name for entry in METHODS if entry.is_shipped]
    grid = resolve(
        Selection(datasets=["movielens"], methods=names),
        Workspace(tmp_path),
        search=Search(samples=2),
    )
    counts = {name: 0 for name in names}
    for spec in grid.trials:
        counts[spec.method] += 1
        METHODS.load(spec.method).Config.model_validate(spec.method_settings)
    assert counts.pop("none") == 1
    assert {*counts.values()} == {2}
