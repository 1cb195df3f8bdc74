"""`bench tune`, as a user calls it."""

from pathlib import Path

import pytest

from bench.paths import Workspace
from bench.records.store import ResultStore

from .conftest import bench

TINY = ["--dataset", "tiny", "--student", "tiny", "--device", "cpu", "--threads", "1"]


@pytest.fixture
def searching(tiny: Workspace, tiny_teacher: Path) -> Workspace:
    folder = tiny.home / "configs" / "methods"
    folder.mkdir(parents=True)
    (folder / "ranking-only.yaml").write_text(
        "teacher: published\nsearch: [{weight: 0.01}, {weight: 5.0}]\n"
    )
    return tiny


def test_the_best_of_the_settings_is_the_one_with_the_best_validation(
    searching: Workspace,
) -> None:
    done = bench("tune", *TINY, "--method", "none", "--method", "ranking-only")
    assert done.exit_code == 0, done.output
    store = ResultStore(searching.results / "search")
    taught = [r for r in store.records() if r.trial and r.trial.method == "ranking-only"]
    assert sorted(r.settings["weight"] for r in taught) == [0.01, 5.0]
    best = max(taught, key=lambda r: r.metrics_of("valid")["ndcg@20"])
    (line,) = [text for text in done.stdout.splitlines() if "ranking-only" in text and "*" in text]
    assert f"weight={best.settings['weight']}" in line
    assert f"{best.metrics_of('valid')['ndcg@20']:.4f}" in line

    again = bench("tune", *TINY, "--method", "none", "--method", "ranking-only")
    assert again.stdout == done.stdout
    assert "starts on" not in again.stderr


def test_no_leaderboard_shows_what_a_search_tried(searching: Workspace) -> None:
    done = bench("tune", *TINY, "--method", "ranking-only")
    assert done.exit_code == 0
    assert "test ndcg" not in done.stderr and "validation ndcg@20" in done.stderr
    assert "No results yet" in bench("report").stdout
    elsewhere = ["--results", str(searching.home / "mine")]
    assert bench("tune", *TINY, "--method", "ranking-only", *elsewhere).exit_code == 0
    assert "No results yet" in bench("report", *elsewhere).stdout
    assert ResultStore(searching.home / "mine" / "search").records()


def test_a_dry_run_shows_the_settings_and_trains_nothing(searching: Workspace) -> None:
    shown = bench("tune", *TINY, "--method", "ranking-only", "--dry-run")
    assert shown.exit_code == 0, shown.output
    assert "method.weight=0.01" in shown.stdout and "method.weight=5.0" in shown.stdout
    assert not (searching.results / "search").exists()


def test_a_wrong_setting_is_refused_before_anything_runs(searching: Workspace) -> None:
    path = searching.home / "configs" / "methods" / "ranking-only.yaml"
    path.write_text("teacher: published\nsearch: [{weigth: 1}]\n")
    refused = bench("tune", *TINY, "--method", "ranking-only")
    assert refused.exit_code == 2
    assert "unknown key 'weigth'. Did you mean 'weight'?" in refused.stderr
