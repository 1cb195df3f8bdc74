"""What a results folder is being filled with, as somebody sees it who only looks."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from bench import locks
from bench.plan import Trial
from bench.records.record import Outcome, failed, finished
from bench.records.store import CLAIMS, RECORD, ResultStore
from bench.records.underway import PLANS, Watcher, announce
from bench.students.config import StudentConfig
from bench.training.config import TrainingConfig

HOLD = """
import sys
from pathlib import Path
from bench.records.store import ResultStore
with ResultStore(Path(sys.argv[1])).claim(sys.argv[2]) as granted:
    print(granted, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path) -> ResultStore:
    return ResultStore(tmp_path / "results")


def trial(seed: int, method: str = "none") -> Trial:
    return Trial(
        dataset="toy",
        protocol="temporal-10",
        data_fingerprint="d" * 64,
        student="sasrec",
        student_config=StudentConfig(model="SASRec"),
        training=TrainingConfig(),
        method=method,
        method_code="0" * 64,
        seed=seed,
    )


def done(store: ResultStore, which: Trial, seconds: float) -> None:
    metrics = {"valid": {"ndcg@20": 1.0}, "test": {"ndcg@20": 1.0}}
    import numpy as np

    outcome = Outcome(metrics, {}, np.ones(3, np.int32), timings={"total_seconds": seconds})
    store.write(finished(which, outcome), outcome)


def held(store: ResultStore, key: str) -> subprocess.Popen[str]:
    """Another process that works on a trial."""
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", HOLD, str(store.folder), key],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "True\n"
    return process


def test_nothing_is_underway_in_an_empty_folder(store):
    progress = Watcher(store.folder).look()
    assert (progress.total, progress.running, progress.seconds_left) == (0, [], None)


def test_what_is_done_failed_running_and_waiting(store):
    trials = [trial(seed) for seed in range(5)]
    announce(store, trials)
    watcher = Watcher(store.folder)
    done(store, trials[0], seconds=40.0)
    store.write(failed(trials[1], "diverged", "NaN"))
    process = held(store, trials[2].key)
    progress = watcher.look()
    assert (progress.total, progress.done, progress.failed, progress.waiting) == (5, 1, 1, 2)
    assert [each.label for each in progress.running] == ["toy sasrec none seed 2"]
    assert progress.running[0].seconds < 30
    assert progress.seconds_left == pytest.approx(120.0, abs=30)
    process.kill()
    process.wait()
    progress = watcher.look()
    assert (progress.running, progress.waiting, progress.seconds_left) == ([], 3, None)


def test_time_left_is_that_of_trials_that_are_alike_and_shared_by_who_works(store):
    slow, fast = [trial(seed, "slow") for seed in range(4)], [trial(seed) for seed in range(4)]
    announce(store, [*slow, *fast])
    done(store, slow[0], seconds=1000.0)
    done(store, fast[0], seconds=10.0)
    processes = [held(store, slow[1].key), held(store, fast[1].key)]
    progress = Watcher(store.folder).look()
    assert progress.seconds_left == pytest.approx((3 * 1000 + 3 * 10) / 2, abs=30)
    for process in processes:
        process.kill()
        process.wait()


def test_looking_takes_no_claim_away(store):
    """Whoever looks while a trial is free must not let a worker think that it is taken."""
    key = trial(0).key
    process = held(store, key)
    path = store.folder / CLAIMS / key
    assert locks.is_held(path)
    with store.claim(key) as granted:
        assert not granted, "looking at a lock of another process freed it"
    process.kill()
    process.wait()
    assert not locks.is_held(path)
    with store.claim(key) as granted:
        assert granted
        assert locks.is_held(path)
        assert held_elsewhere(store, key), "looking at an own lock freed it"


def held_elsewhere(store: ResultStore, key: str) -> bool:
    """Whether another process is refused the claim."""
    command = [sys.executable, "-c", HOLD, str(store.folder), key]
    answer = subprocess.run(  # noqa: S603
        command, input="", capture_output=True, text=True, check=True
    )
    return answer.stdout == "False\n"


def test_a_plan_goes_when_another_comes_and_it_is_complete(store):
    first, second = [trial(0)], [trial(1), trial(2)]
    announce(store, first)
    announce(store, second)
    assert Watcher(store.folder).look().total == 3
    done(store, first[0], seconds=1.0)
    announce(store, second)
    assert Watcher(store.folder).look().total == 2
    assert len([*(store.folder / PLANS).iterdir()]) == 1


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"key": "a"}]', "null", '{"a": 1}'])
def test_a_plan_that_cannot_be_read_says_nothing(store, text):
    (store.folder / PLANS).mkdir(parents=True)
    (store.folder / PLANS / "x.json").write_text(text)
    assert Watcher(store.folder).look().total == 0
    announce(store, [trial(0)])
    assert Watcher(store.folder).look().total == 1


def test_a_record_is_read_again_when_it_was_replaced(store):
    which = trial(0)
    announce(store, [which])
    watcher = Watcher(store.folder)
    store.write(failed(which, "diverged", "NaN"))
    assert watcher.look().failed == 1
    done(store, which, seconds=1.0)
    later = time.time_ns() + 10**9
    os.utime(store.folder / which.key / RECORD, ns=(later, later))
    assert (watcher.look().failed, watcher.look().done) == (0, 1)


def test_a_folder_that_cannot_be_written_to_is_no_matter_here(tmp_path):
    (tmp_path / "file").write_text("")
    announce(ResultStore(tmp_path / "file"), [trial(0)])
