"""`bench work`: a worker by itself, told to end, short of time, or with a share of its own."""

from __future__ import annotations

import itertools
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from bench.cli.main import main
from bench.config.grid import resolve
from bench.config.selection import Selection
from bench.errors import ConfigError
from bench.execution.share import Share
from bench.execution.until import seconds_of
from bench.paths import Workspace
from bench.records.record import Outcome, Record, finished
from bench.records.store import ResultStore

from ..forked import Forked

GRID = ["-d", "tiny", "-s", "tiny", "-m", "none", "--device", "cpu", "--threads", "1"]
ENDLESS = ["--set", "training.max_epochs=100000", "--set", "training.patience=100000"]


def bench(command: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, [command, *GRID, *arguments])


def trials(folder: Path) -> list[Record]:
    return [record for record in ResultStore(folder).records() if record.kind == "trial"]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_a_worker_runs_what_nobody_runs_and_leaves_the_rest(tiny: Workspace) -> None:
    keys = [record.key for record in (bench("run", "--seeds", "0"), trials(tiny.results))[1]]
    store = ResultStore(tiny.results)
    grid = resolve(
        Selection(methods=["none"], datasets=["tiny"], students=["tiny"], seeds="1"), tiny
    )
    from bench.execution.inputs import identify

    (other,) = identify(grid, tiny)
    assert other is not None
    with store.claim(other.key) as granted:
        assert granted
        done = bench("work", "--seeds", "0-3")
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert "2 trials run here" in done.stderr
    made = trials(tiny.results)
    assert {record.trial.seed for record in made if record.trial} == {0, 2, 3}
    assert {r.environment["executor"] for r in made} == {"local", "work"}
    assert keys[0] in {record.key for record in made}


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_told_to_end_it_keeps_the_state_and_lets_go(
    tiny: Workspace, tmp_path: Path, name: str
) -> None:
    said = tmp_path / "said"
    work = Forked("work", *GRID, *ENDLESS, stderr=said, BENCH_STATE_SECONDS="0")
    states = tiny.results / ".states"
    while not files(states):
        assert work.poll() is None, work.stderr
        time.sleep(0.02)
    work.send(getattr(signal, name))
    assert work.wait() == 0, work.stderr
    assert "the next worker goes on" in work.stderr
    assert trials(tiny.results) == []
    assert files(tiny.results / ".claims") == []
    (key,) = files(states)
    with ResultStore(tiny.results).claim(key) as granted:
        assert granted


def test_at_its_time_it_keeps_the_state_and_the_next_goes_on(
    tiny: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_STATE_SECONDS", "0")
    long = ["--set", "training.max_epochs=40", "--set", "training.min_epochs=40"]
    elsewhere = tiny.home / "uninterrupted"
    assert bench("run", *long, "--results", str(elsewhere)).exit_code == 0
    ends = 0
    with monkeypatch.context() as clock:
        # Each look at the clock takes a second: no machine is too slow or too fast for it.
        clock.setattr("bench.execution.until.time.monotonic", itertools.count().__next__)
        while not trials(tiny.results):
            done = bench("work", *long, "--until", "1m")
            assert done.exit_code == 0, done.output
            ends += "the next worker goes on" in done.stderr
            assert ends < 40
    assert ends > 0
    assert "goes on after epoch" in done.stderr
    (one,), (other,) = trials(elsewhere), trials(tiny.results)
    assert one.metrics == other.metrics and one.best_epoch == other.best_epoch
    for name in ("ranks.npy", "student.safetensors"):
        assert (elsewhere / one.key / name).read_bytes() == (
            tiny.results / one.key / name
        ).read_bytes()
    assert files(tiny.results / ".states") == []
    assert len((tiny.results / one.key / "curve.csv").read_text().splitlines()) == 41


def test_no_trial_starts_that_is_not_expected_to_end(
    tiny: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bench("run").exit_code == 0
    (record,) = trials(tiny.results)
    path = tiny.results / record.key / "record.json"

    def seconds(taken: float) -> None:
        timings = record.timings | {"total_seconds": taken}
        path.write_text(record.model_copy(update={"timings": timings}).model_dump_json())

    monkeypatch.setattr("bench.execution.until.time.monotonic", iter(range(10**6)).__next__)
    seconds(59.5)  # each look at the clock takes a second
    done = bench("work", "--seeds", "0-1", "--until", "1m")
    assert done.exit_code == 0 and len(trials(tiny.results)) == 1, done.output
    seconds(61)  # fits in nobody's minute: it starts, and its state goes from worker to worker
    done = bench("work", "--seeds", "0-1", "--until", "1m")
    assert done.exit_code == 0 and len(trials(tiny.results)) == 2, done.output


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("55m", 3300), ("1h30m", 5400), ("1d", 86400)]
)
def test_durations(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["55", "1:30:00", "m", "", "-5m", "0s", "5 m", "1.5h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no duration"):
        seconds_of(text)


def test_shares_are_a_partition(tiny: Workspace) -> None:
    grid = resolve(
        Selection(methods=["none"], datasets=["tiny"], students=["tiny"], seeds="0-49"), tiny
    )
    for count in (1, 2, 7):
        parts = [Share(number, count).of_grid(grid).trials for number in range(1, count + 1)]
        assert sorted(s.seed for part in parts for s in part) == list(range(50))
        assert all(parts)


def machine(tmp_path: Path, name: str, tiny: Workspace) -> Path:
    """Another home with the same configuration and the same imported interactions."""
    home = tmp_path / "machines" / name
    shutil.copytree(tiny.home / "configs", home / "configs")
    shutil.copytree(tiny.datasets, home / "datasets")
    return home


def test_two_homes_with_a_share_each_make_what_one_makes(
    tiny: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = ["--seeds", "0-11"]
    homes = [machine(tmp_path, name, tiny) for name in ("a", "b")]
    assert bench("run", *seeds).exit_code == 0
    made: list[Sequence[Record]] = []
    for number, home in enumerate(homes, start=1):
        monkeypatch.setenv("BENCH_HOME", str(home))
        done = bench("run", *seeds, "--share", f"{number}/2")
        assert done.exit_code == 0, done.output
        made.append(trials(home / "results"))
    assert len(made[0]) + len(made[1]) == 12 and all(made)
    whole = tmp_path / "whole"
    merge = ["results", "merge", *(str(home / "results") for home in homes)]
    merged = CliRunner().invoke(main, [*merge, "--results", str(whole)])
    assert merged.exit_code == 0, merged.output
    expected, found = ResultStore(tiny.results), ResultStore(whole)
    assert [r.key for r in expected.records()] == [r.key for r in found.records()]
    for record in expected.records():
        np.testing.assert_array_equal(expected.ranks(record.key), found.ranks(record.key))
        fingerprint = str(record.subject.data_fingerprint)
        users = [store.users(fingerprint) for store in (expected, found)]
        assert users[0] is not None and users[1] is not None and (users[0] == users[1]).all()
    again = CliRunner().invoke(main, [*merge, "--results", str(whole)])
    assert "0 records copied" in again.output

    key = made[0][0].key
    other = ResultStore(homes[0] / "results")
    ranks = [other.ranks(key, seen)[::-1] for seen in ("rank", "mask")]  # of the same metrics
    outcome = Outcome(
        metrics=made[0][0].metrics, segments={}, ranks=ranks[0], masked_ranks=ranks[1]
    )
    shutil.rmtree(other.folder / key)
    other.write(finished(made[0][0].subject, outcome), outcome)
    refused = CliRunner().invoke(main, [*merge, "--results", str(whole)])
    assert refused.exit_code == 2
    assert key[:12] in refused.stderr and "nothing was merged" in refused.stderr
