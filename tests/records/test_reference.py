"""The records that the project keeps, and the leaderboards of the README that are made of them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from bench.evaluation.metrics import metrics_from_ranks
from bench.paths import SHIPPED
from bench.records.record import Record
from bench.records.store import ResultStore
from bench.reporting.render import render

STORE = ResultStore(SHIPPED / "results" / "reference")
RECORDS = STORE.records()


def cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip().strip("|").split("|"))


def test_the_tables_of_the_readme_are_those_of_the_records() -> None:
    readme = (SHIPPED / "README.md").read_text(encoding="utf-8")
    boards = readme.split("<!-- leaderboard -->")[1].split("<!-- end of leaderboard -->")[0]
    lines = [line for line in boards.splitlines() if line.startswith("|")]
    shown = [cells(line) for line in lines if not re.match(r"\|( Method| ?:?-)", line)]
    reported = {cells(line) for line in render(STORE).splitlines() if line.startswith("|")}
    assert len(shown) >= 10
    assert [row for row in shown if row not in reported] == []


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.key[:8])
def test_a_record_is_whole_and_its_ranks_give_its_metrics(record: Record) -> None:
    assert record.is_done
    ranks = STORE.ranks(record.key)
    again = metrics_from_ranks(ranks)
    assert record.metrics["test"] == pytest.approx(
        {name: again[name] for name in record.metrics["test"]}
    )
    users = STORE.users(str(record.subject.data_fingerprint))
    assert users is not None and len(users) == len(ranks)
    assert np.all(ranks >= 1)
