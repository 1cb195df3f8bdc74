"""The calibration, run small: what it writes follows from the records it leaves."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from bench.paths import Workspace
from bench.records.store import ResultStore
from benchmarks.calibration import main

pytest.importorskip("matplotlib", reason="needs the extra 'plots'")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for place, text in {
        "datasets/dot-synthetic": "source: synthetic\n"
        "synthetic: {users: 60, items: 40, interactions: 400}\n"
        "protocol: {name: temporal, history: 5, first_target: 1}\n",
        "students/dot": "model: GRU4Rec\n"
        "parameters: {embedding_size: 8, hidden_size: 8, num_layers: 1, dropout_prob: 0.1}\n"
        "training: {max_epochs: 2, min_epochs: 1, learning_rate: 0.01}\n",
    }.items():
        path = tmp_path / "configs" / f"{place}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def calibrate(home: Path, *more: str) -> Result:
    options = {
        "--home": home,
        "--page": home / "page.md",
        "--dataset": "dot-synthetic",
        "--student": "dot",
        "--seeds": "0-1",
        "--method": "embedding-only",
    }
    given = [str(part) for option in options.items() for part in option]
    return CliRunner().invoke(main, [*given, "--signal", "0", "--signal", "1", *more])


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_table_and_figure_are_those_of_the_records(home: Path) -> None:
    result = calibrate(home)
    assert result.exit_code == 0, result.output
    store = ResultStore(Workspace(home).results)
    score = {
        (record.trial.method, record.trial.teacher, record.trial.seed): record.metrics["test"][
            "ndcg@20"
        ]
        for record in store.records()
        if record.trial
    }
    assert len(score) == 2 * 3
    page = (home / "page.md").read_text()
    for signal in (0, 1):
        gains = [
            100
            * (score["embedding-only", f"planted-{signal}", seed] / score["none", None, seed] - 1)
            for seed in (0, 1)
        ]
        by_seed = ", ".join(f"{gain:+.1f}" for gain in gains)
        (line,) = (line for line in map(cells_of, page.splitlines()) if line[1:2] == [str(signal)])
        assert [line[0], *line[4:6]] == ["embedding-only", f"{np.mean(gains):+.1f} %", by_seed]
    assert "(synthetic)" in page and "](page.svg)" in page
    figure = (home / "page.svg").read_bytes()
    assert b"<svg" in figure

    written = {record.key: record.created for record in store.records()}
    assert calibrate(home).exit_code == 0
    assert {record.key: record.created for record in store.records()} == written
    assert (home / "page.svg").read_bytes() == figure and (home / "page.md").read_text() == page


def test_records_of_older_code_in_the_same_home_are_passed_over(home: Path) -> None:
    assert calibrate(home).exit_code == 0
    page = (home / "page.md").read_text()
    store = ResultStore(Workspace(home).results)
    for record in list(store.records()):
        if record.trial and record.trial.method == "none":
            older = record.trial.model_copy(update={"method_code": "0" * 64})
            place = store.folder / older.key
            shutil.copytree(store.folder / record.key, place)
            changed = record.model_copy(update={"key": older.key, "trial": older})
            (place / "record.json").write_text(changed.model_dump_json())
    assert len([r for r in store.records() if r.trial and r.trial.method == "none"]) == 4
    result = calibrate(home)
    assert result.exit_code == 0, result.output
    assert (home / "page.md").read_text() == page


def test_real_data_are_refused(home: Path) -> None:
    result = calibrate(home, "--dataset", "movielens")
    assert result.exit_code == 1
    assert "planted" in result.output and "synthetic datasets only" in result.output
