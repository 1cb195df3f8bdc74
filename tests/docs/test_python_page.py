"""docs/quickstart.md and docs/python.md run as they stand; the columns that are named are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import bench
from bench.cli.main import main
from bench.paths import SHIPPED
from bench.records import frame, leaderboard

from .pages import play

PAGE = (SHIPPED / "docs" / "python.md").read_text(encoding="utf-8")


SHORT = "--set training.max_epochs=1 --set training.min_epochs=1"
"""What runs of the tutorial are given here: one epoch of each training is enough."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One workspace: the pages run the same grid, which is trained once."""
    return tmp_path_factory.mktemp("pages")


@pytest.fixture
def home(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_HOME", str(shared))
    monkeypatch.chdir(shared)
    return shared


def shell(block: str) -> None:
    """Run the calls of `bench` in a block; what installs is there already."""
    for line in block.splitlines():
        if not line.startswith("bench "):
            continue
        if line.startswith("bench run "):
            line = f"{line} {SHORT}"
        words = [
            re.sub(r"^\$\(cat (.+)\)$", lambda found: Path(found[1]).read_text(), word)
            for word in shlex.split(line)
        ]
        done = CliRunner().invoke(main, words[1:])
        assert done.exit_code == 0, f"{line}: {done.output}"


def test_the_tutorial_runs(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = play((SHIPPED / "docs" / "quickstart.md").read_text(encoding="utf-8"), shell)
    assert set(names["methods"]["method"]) == {"ranking-only", "dllm2rec"}
    board = bench.leaderboard(bench.results())
    shop = board[(board["dataset"] == "shop") & board["gain"].notna()]
    assert set(shop["method"]) == {"ranking-only", "top-one"}
    assert (home / "gains.png").read_bytes().startswith(b"\x89PNG")
    assert "dllm2rec" in (home / "report.html").read_text(encoding="utf-8")
    assert "state_dict" in torch.load(home / "student.pth", weights_only=True)
    assert re.search(r"^\['(tea|coffee)-\d+'", capsys.readouterr().out, re.M)


def test_the_program_that_is_shown_runs(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(SHIPPED)
    names = play(PAGE, shell)
    assert names["board"]["p_holm"].notna().sum() > 40
    ran = names["runs"][names["runs"]["kind"] == "trial"]
    assert len(ran) == 6 and set(ran["teacher"].dropna()) == {"planted"}
    assert len(re.findall(r"^\['i\d+'", capsys.readouterr().out, re.M)) == 3


def test_all_columns_are_told() -> None:
    runs, boards = PAGE.split("## Columns of a leaderboard")
    of_runs = set(re.findall(r"`([^`]+)`", runs.split("## Columns of runs")[1]))
    of_boards = set(re.findall(r"`([^`]+)`", boards))
    assert not {*frame.COLUMNS} - of_runs
    assert not {*leaderboard.COLUMNS} - of_runs - of_boards


def test_dtypes_are_those_of_the_page() -> None:
    runs = bench.results(SHIPPED / "results" / "reference")
    table = PAGE.split("## Columns of runs")[1].split("## ")[0]
    for names, dtypes in re.findall(r"^\| (`.*?) \| (.*?) \|", table, re.M):
        told = dtypes.replace("text", str(frame.TEXT)).split(", ")
        for name in re.findall(r"`([^`]+)`", names):
            assert name not in runs or str(runs[name].dtype) in told, name
