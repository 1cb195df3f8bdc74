"""Selections: axes, seeds, suites."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.config.selection import Selection, expand, parse_seeds, read_suite
from bench.errors import ConfigError
from bench.paths import Workspace


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("0", [0]),
        ("0-4", [0, 1, 2, 3, 4]),
        ("0,2,5", [0, 2, 5]),
        ("7, 0-2 ,1", [0, 1, 2, 7]),
        ("3-3", [3]),
    ],
)
def test_seeds(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "4-1", "0,,1", "0.5", "0-99999999"])
def test_what_is_no_seed(text: str) -> None:
    with pytest.raises(ConfigError, match="--seeds"):
        parse_seeds(text)


@given(st.sets(st.integers(0, 10**6), min_size=1, max_size=8))
def test_written_seeds_are_read(seeds: set[int]) -> None:
    assert parse_seeds(",".join(map(str, seeds))) == sorted(seeds)


def test_all_stands_for_what_is_known_and_nothing_comes_twice() -> None:
    assert expand(["b", "all", "b"], ["c", "a", "b"]) == ["b", "a", "c"]


def test_options_replace_the_axes_of_a_suite_and_overrides_add_up() -> None:
    suite = Selection(methods=["a"], datasets=["d"], seeds="0-2", set=["training.patience=1"])
    options = Selection(methods=["b"], set=["training.patience=2"])
    both = options.over(suite)
    assert (both.methods, both.datasets, both.seeds) == (["b"], ["d"], "0-2")
    assert both.overrides == ["training.patience=1", "training.patience=2"]


def test_a_suite_is_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "configs" / "suites"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("methods: [none]\nseeds: 3\nset: [training.patience=2]\n")
    suite = read_suite("mine", Workspace(tmp_path))
    assert (suite.seeds, suite.overrides) == ("3", ["training.patience=2"])
    (folder / "mine.yaml").write_text("method: [none]\n")
    with pytest.raises(ConfigError, match="Did you mean 'methods'"):
        read_suite("mine", Workspace(tmp_path))
