"""The Python interface: the same runs and numbers as the command line's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

import bench
from bench.cli.main import main
from bench.errors import ConfigError, UnknownNameError
from bench.paths import SHIPPED, Workspace

REFERENCE = SHIPPED / "results" / "reference"
GRID = {"methods": ["none", "dllm2rec"], "datasets": "tiny", "students": "tiny", "threads": 1}


@pytest.fixture
def ran(tiny_teacher: Path) -> pd.DataFrame:
    return bench.run(**GRID, teachers="published", seeds=range(2))


def test_importing_it_imports_nothing_heavy() -> None:
    program = (
        "import sys, bench; dir(bench); "
        "assert {'run', 'results', 'leaderboard', 'load_student'} <= {*dir(bench)}; "
        "print({'torch', 'pandas', 'numpy', 'recbole'} & {*sys.modules}); "
        "bench.results; print({'torch', 'recbole'} & {*sys.modules})"
    )
    told = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert told.stdout.split() == ["set()", "set()"]


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'resluts'"):
        _ = bench.resluts


def test_what_ran_is_what_the_command_line_finds_done(ran: pd.DataFrame, tiny: Workspace) -> None:
    trials = ran[ran["kind"] == "trial"]
    assert sorted(zip(trials["method"], trials["seed"], strict=True)) == [
        ("dllm2rec", 0),
        ("dllm2rec", 1),
        ("none", 0),
        ("none", 1),
    ]
    assert set(ran["kind"]) == {"trial", "baseline"}  # this teacher ranked no test examples
    assert (ran["status"] == "done").all()
    options = ["--dataset", "tiny", "--student", "tiny", "--teacher", "published", "--seeds", "0-1"]
    shown = CliRunner().invoke(
        main, ["run", *options, "--method", "none", "--method", "dllm2rec", "--dry-run"]
    )
    assert shown.stdout.count(" done ") == 4, shown.output
    again = bench.run(**GRID, teachers="published", seeds="0-1")
    pd.testing.assert_frame_equal(again, ran)


def test_other_runs_of_the_folder_are_not_returned(ran: pd.DataFrame) -> None:
    one = bench.run(methods="none", datasets="tiny", students="tiny", seeds=[1], threads=1)
    trials = one[one["kind"] == "trial"]
    assert list(zip(trials["method"], trials["seed"], strict=True)) == [("none", 1)]
    assert len(bench.results()) == len(ran)


def test_settings_are_those_of_set(tiny: Workspace) -> None:
    settings = {"training.learning_rate": 1e-3, "training.select": "hr@10"}
    runs = bench.run("none", "tiny", "tiny", settings=settings, threads=1)
    (trial,) = runs[runs["kind"] == "trial"].itertuples()
    assert trial.overrides == settings and trial.monitor == "valid-masked/hr@10"


def test_a_number_of_seeds_is_asked_to_be_said_plainly(tiny: Workspace) -> None:
    with pytest.raises(ConfigError, match=r"range\(3\) for that many, \[3\] for one"):
        bench.run("none", "tiny", "tiny", seeds=3)


def test_a_student_scores_as_it_was_ranked(ran: pd.DataFrame, tiny: Workspace) -> None:
    import torch

    from bench.records.store import ResultStore

    run = ran[ran["method"] == "dllm2rec"].iloc[0]
    student = bench.load_student(run["key"][:16])
    test = bench.load_data("tiny").test
    history, length, target = (
        torch.tensor(array[:]).long() for array in (test.history, test.length, test.target)
    )
    with torch.no_grad():
        scores = student.logits(student.encode(history, length, None))
    own = scores.gather(1, target[:, None])
    ranks = (scores >= own).sum(dim=1)  # ties against the target, which counts itself
    assert ranks.tolist() == ResultStore(tiny.results).ranks(run["key"]).tolist()


def test_a_key_that_is_no_trials_is_rejected(ran: pd.DataFrame) -> None:
    with pytest.raises(UnknownNameError, match="key of a finished trial"):
        bench.load_student("zzz")


def test_any_lines_of_runs_make_a_board_with_tests() -> None:
    runs = bench.results(REFERENCE)
    games = runs[(runs["dataset"] == "game") & runs["method"].isin(["none", "dllm2rec"])]
    pair = bench.leaderboard(games.sample(frac=1, random_state=0).reset_index(drop=True))
    whole = bench.leaderboard(runs).set_index("entry")
    taught = pair[pair["gain"].notna() & pair["control"].isna()]
    assert len(taught) >= 2
    for entry in taught.itertuples():
        assert entry.gain == whole.loc[entry.entry, "gain"]
        assert entry.p_users == whole.loc[entry.entry, "p_users"]
        assert entry.gain_low < entry.gain < entry.gain_high
        assert entry.p <= entry.p_holm <= whole.loc[entry.entry, "p_holm"]


def test_without_the_folder_there_are_gains_and_no_tests() -> None:
    runs = bench.results(REFERENCE)
    here = bench.leaderboard(runs)
    there = bench.leaderboard(runs.assign(folder="/nowhere"))
    assert there["p"].isna().all() and not there["significant"].any()
    pd.testing.assert_series_equal(there["gain"], here["gain"])


def test_several_metrics_are_lines_of_their_own_in_one_order() -> None:
    runs = bench.results(REFERENCE)
    both = bench.leaderboard(runs, ["hr@10", "ndcg@20"])
    first, second = (both[both["metric"] == name] for name in ("hr@10", "ndcg@20"))
    assert list(first["entry"]) == list(second["entry"])
    alone = bench.leaderboard(runs, "ndcg@20").set_index("entry")
    for name in ("mean", "gain", "p_holm"):
        found = second.set_index("entry")[name]
        pd.testing.assert_series_equal(found, alone[name].loc[found.index])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "ndgc@20"}, "Did you mean 'ndcg'"),
        ({"against": "dllm2rce"}, "Did you mean 'dllm2rec'"),
        ({"split": "vaild"}, "no run has 'vaild/ndcg@20'"),
    ],
)
def test_mistakes_are_named(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        bench.leaderboard(bench.results(REFERENCE), **options)
