"""docs/python.md runs as it stands, and names the columns that there are."""

from __future__ import annotations

import re
from typing import Any

import pytest

import bench
from bench.paths import SHIPPED
from bench.records import frame, leaderboard

PAGE = (SHIPPED / "docs" / "python.md").read_text(encoding="utf-8")


def test_the_program_that_is_shown_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(SHIPPED)
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, names)  # noqa: S102 - our own page
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
