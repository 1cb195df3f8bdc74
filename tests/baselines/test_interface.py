"""What every registered baseline does, and how one comes in from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import registry
from bench.baselines import interface
from bench.baselines.interface import BASELINES, Baseline
from bench.data.examples import Examples, PreparedData, Sequences
from bench.paths import SHIPPED

from .tables import TABLES, N, examples_of

NAMES = BASELINES.names()


def made(name: str) -> Baseline:
    """A baseline that can be fitted to examples of N items."""
    model = BASELINES.load(name)()
    if hasattr(model, "read_texts"):
        texts = np.random.default_rng(0).standard_normal((N, 5)).astype(np.float32)
        model.read_texts(texts / np.linalg.norm(texts, axis=1, keepdims=True))
    return model


PAGE = SHIPPED / "docs" / "adding-a-baseline.md"


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(train=TABLES, asked=TABLES)
def test_ranks_are_those_of_the_scores_and_ties_count_against_the_target(
    name: str, train: Examples, asked: Examples
) -> None:
    before = deepcopy([vars(train), vars(asked)])
    model = made(name).fit(train, N)
    scores = model.scores(asked.history, asked.length)
    assert scores.dtype == np.float32 and scores.shape == (len(asked), N)
    assert np.isfinite(scores).all()
    ranks = model.ranks(asked, N)
    assert ranks.dtype == np.int32
    assert ranks.tolist() == [
        sum(score >= row[target - 1] for score in row)
        for row, target in zip(scores.tolist(), asked.target, strict=True)
    ]
    np.testing.assert_equal([vars(train), vars(asked)], before)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(train=TABLES, users=st.lists(st.lists(st.integers(1, N), min_size=2), min_size=1))
def test_masked_ranks_are_those_among_the_items_that_were_not_seen(
    name: str, train: Examples, users: list[list[int]]
) -> None:
    """Against a ranking item by item: all earlier items of the user, beyond the history too."""
    model, asked = made(name).fit(train, N), examples_of(users)
    user = np.repeat(np.arange(len(users)), [len(items) for items in users]).astype(np.int32)
    item = np.concatenate(users).astype(np.int32) - 1
    found = model.all_ranks(asked, N, Sequences.of(user, item, len(users)))
    assert found.masked is not None and found.masked.dtype == np.int32
    assert found.ranked.tolist() == model.ranks(asked, N).tolist()
    scores = model.scores(asked.history, asked.length)
    for row, target in enumerate(asked.target.tolist()):
        before = set(users[asked.user[row]][: asked.ordinal[row]])
        left = set(range(1, N + 1)) - before | {target}
        wanted = sum(bool(scores[row, i - 1] >= scores[row, target - 1]) for i in left)
        assert found.masked[row] == wanted


@pytest.mark.parametrize("name", NAMES)
def test_ranks_do_not_depend_on_blocks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = examples_of([[1, 2, 3, 7], [2, 3, 4, 12], [5, 1, 2], [9, 8, 3, 2, 11, 6]])
    model = made(name).fit(examples, N)
    whole = model.ranks(examples, N)
    monkeypatch.setattr(interface, "BLOCK_ROWS", 5)
    np.testing.assert_array_equal(model.ranks(examples, N), whole)


@pytest.mark.parametrize("name", NAMES)
def test_only_popularity_has_an_entry_whatever_it_costs(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = examples_of([[1, 2, 3, 7], [2, 3, 4, 12]])
    data = PreparedData("toy", "p", ["i"] * N, [""] * N, ["u"] * 2, *[examples] * 3, "c", "s", "f")
    model = BASELINES.load(name)()
    assert model.obstacle(data) is None
    monkeypatch.setattr(interface, "AFFORDABLE", 2 * len(examples) * N - 1)
    assert (model.obstacle(data) is None) == (name == "popularity")
    huge = replace(data, item_tokens=["i"] * 30_000)
    assert (model.obstacle(huge) is None) == (name == "popularity")


def test_names_and_summaries_need_no_torch() -> None:
    code = (
        "import sys\nfrom bench.baselines.interface import BASELINES\n"
        "for entry in BASELINES: print(entry.name, bool(entry.summary))\n"
        "print('torch' in sys.modules, 'scipy' in sys.modules)"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], cwd=SHIPPED, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [*(f"{name} True" for name in NAMES), "False False"]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package with the baseline of the documentation, and one that is broken."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    module = f"package_{tmp_path.name}"
    (tmp_path / f"{module}.py").write_text(example)
    monkeypatch.syspath_prepend(str(tmp_path))
    points = [
        EntryPoint("theirs", "no_such_package.own", "bench.baselines"),
        EntryPoint("mine", module, "bench.baselines"),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    monkeypatch.setattr(BASELINES, "_is_complete", False)
    monkeypatch.setattr(BASELINES, "_found", {})
    yield
    sys.modules.pop(module, None)


@pytest.mark.usefixtures("mine")
def test_a_baseline_of_an_installed_package(caplog: pytest.LogCaptureFixture) -> None:
    assert BASELINES.names() == sorted([*NAMES, "repeat"])
    (warning,) = caplog.messages
    assert "left out: entry point 'theirs'" in warning
    entry = BASELINES.get("repeat")
    assert entry.summary == "Items of the history itself, the last one first."
    assert not entry.is_shipped and entry.target.split(":")[0] not in sys.modules
    model: Baseline = BASELINES.load("repeat")()
    asked = examples_of([[3, 1, 3, 1]])
    assert model.fit(asked, N).ranks(asked, N).tolist() == [N, 2, 2]
