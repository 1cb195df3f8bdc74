"""Whole trainings beside RecBole's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.acceptance import main
from benchmarks.dataset import SYNTHETIC, synthetic


def test_both_sides_train_to_their_end_and_read_the_same_test_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthetic(30, 200, tmp_path)
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    done = CliRunner().invoke(main, [SYNTHETIC, "--history", "5", "--student", "gru4rec"])
    assert done.exit_code == 0, done.output
    lines = [line.split("|")[1:-1] for line in done.output.splitlines() if "gru4rec" in line]
    assert [line[1].strip() for line in lines] == ["hr@10", "ndcg@10"]
    # Twenty users: each of the two finds some of the targets among 30 items, and not all.
    assert all(0 < float(figure) < 1 for line in lines for figure in line[2:4])
