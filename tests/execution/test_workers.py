"""Several trials at once: the same records, whatever becomes of the processes that make them."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.baselines.interface import BASELINES
from bench.cli.main import main
from bench.config.grid import Grid, resolve
from bench.config.selection import Selection
from bench.errors import BenchError
from bench.execution import runner
from bench.execution.run import run_grid
from bench.paths import Workspace
from bench.records.record import Outcome, Record, finished
from bench.records.store import ResultStore
from bench.registry import METHODS

from ..forked import Forked
from ..listening import listening

PLUGIN = '''
import os, pathlib, resource, signal, sys
from torch import Tensor
from bench.registry import register_method
from bench.distillation import Batch, Method, MethodConfig, Output

@register_method("{name}")
class Mine(Method):
    """A method of my own."""
    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        {body}
        return {{"small": 0.1 * output.hidden.pow(2).mean()}}
'''

REFERENCES = len(BASELINES.names()) - 1
"""Baselines but l3ae: no teacher has encoded texts of these data."""


def plugin(folder: Path, name: str, body: str = "pass") -> Path:
    path = folder / f"{name}.py"
    path.write_text(PLUGIN.format(name=name, body=body))
    return path


def grid_of(tiny: Workspace, *methods: str, seeds: str) -> Grid:
    teachers = ["published"] if "embedding-only" in methods else []
    fields = {"methods": methods, "datasets": ["tiny"], "students": ["tiny"], "seeds": seeds}
    return resolve(Selection.model_validate({"teachers": teachers, **fields}), tiny)


def workers() -> list[str]:
    """Process ids of the workers that this process has started."""
    command = ["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())]
    found = subprocess.run(command, capture_output=True, text=True).stdout  # noqa: S603
    return [line.split()[0] for line in found.splitlines() if "bench.execution.worker" in line]


def folders(store: ResultStore) -> list[str]:
    """Records, and anything that should not be there."""
    return sorted(
        p.name for p in store.folder.iterdir() if p.name not in ("users", ".claims", ".plans")
    )


def claims(store: ResultStore) -> list[Path]:
    return list((store.folder / ".claims").iterdir())


@pytest.mark.usefixtures("tiny_teacher")
def test_the_same_bits_as_one_after_the_other(tiny: Workspace, tmp_path: Path) -> None:
    METHODS.add_plugin(plugin(tmp_path, "from-a-file"))
    grid = grid_of(tiny, "none", "embedding-only", "from-a-file", seeds="0-1")
    lines: list[str] = []
    at_once = 0

    def hear(line: str) -> None:
        nonlocal at_once
        lines.append(line)
        at_once = max(at_once, len(workers()))

    def run(store: ResultStore, jobs: int) -> list[Record]:
        options = {"device": "cpu", "threads": 1, "jobs": jobs}
        with listening(hear):
            return run_grid(grid, store, tiny, **options)

    one, two = ResultStore(tiny.home / "one"), ResultStore(tiny.home / "two")
    expected = run(one, 1)
    assert at_once == 0
    found = run(two, 2)
    assert at_once == 2
    assert workers() == []
    assert [(r.key, r.status, r.metrics) for r in found] == [
        (r.key, "done", r.metrics) for r in expected
    ]
    assert {r.environment["threads"] for r in found} == {1}
    for name in ("ranks.npy", "student.safetensors"):
        for record in found:
            parts = [store.folder / record.key / name for store in (one, two)]
            assert parts[0].read_bytes() == parts[1].read_bytes()
    assert folders(two) == folders(one)
    assert claims(two) == []
    labels = tuple(trial.label for trial in grid.trials)
    assert all(line.startswith(labels) for line in lines if "epoch" in line)
    assert sum("epoch 1:" in line for line in lines) == 2 * len(labels)


def bench(tiny: Workspace, *arguments: str) -> list[str]:
    """A command line of `bench run` on the tiny data with two jobs."""
    fixed = ["run", "-d", "tiny", "-s", "tiny", "--device", "cpu", "--threads", "1", "--jobs", "2"]
    return [*fixed, *arguments]


def test_a_killed_worker_loses_its_trial_alone(tiny: Workspace, tmp_path: Path) -> None:
    flag = tmp_path / "kill-one"
    flag.touch()
    body = f"""
        try:
            pathlib.Path({str(flag)!r}).unlink()
        except FileNotFoundError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)"""
    path = plugin(tmp_path, "killed-once", body)
    arguments = bench(tiny, "--plugin", str(path), "-m", "none", "-m", "killed-once")
    run = CliRunner().invoke(main, [*arguments, "--seeds", "0-1"])
    assert run.exit_code == 1, run.output
    assert "1 of 4 trials failed" in run.stderr
    store = ResultStore(tiny.results)
    trials = [record for record in store.records() if record.kind == "trial"]
    assert len(trials) == 4
    (lost,) = [record for record in trials if not record.is_done]
    assert lost.trial is not None and lost.trial.method == "killed-once"
    assert lost.status == "lost-worker"
    assert lost.error is not None and "SIGKILL" in lost.error
    assert f"{lost.trial.label}: lost-worker: " in run.stderr
    assert len(folders(store)) == 4 + REFERENCES
    assert claims(store) == []

    again = CliRunner().invoke(main, [*arguments, "--seeds", "0-1", "--retry-failed"])
    assert again.exit_code == 0, again.output
    assert again.stderr.count("starts on") == 1


def test_without_any_worker_left_the_run_goes_on_alone(tiny: Workspace, tmp_path: Path) -> None:
    body = """
        if 'bench.execution.worker' in sys.orig_argv:
            os.kill(os.getpid(), signal.SIGKILL)"""
    path = plugin(tmp_path, "kills-workers", body)
    arguments = bench(tiny, "--plugin", str(path), "-m", "kills-workers", "--seeds", "0-2")
    run = CliRunner().invoke(main, arguments)
    assert run.exit_code == 1, run.output
    trials = [record for record in ResultStore(tiny.results).records() if record.kind == "trial"]
    assert sorted(record.status for record in trials) == ["done", "lost-worker", "lost-worker"]


def test_a_full_disk_stops_all_workers_with_a_clear_message(
    tiny: Workspace, tmp_path: Path
) -> None:
    body = "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))"
    METHODS.add_plugin(plugin(tmp_path, "fills-the-disk", body))
    grid, store = grid_of(tiny, "fills-the-disk", seeds="0-1"), ResultStore(tiny.results)
    with pytest.raises(BenchError, match=f"results folder {tiny.results} cannot be written"):
        run_grid(grid, store, tiny, device="cpu", threads=1, jobs=2)
    assert workers() == []
    assert [record.kind for record in store.records()] == ["reference"] * REFERENCES
    assert claims(store) == []


def test_workers_end_while_the_run_waits_for_another_one(
    tiny: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.01)
    grid, store = grid_of(tiny, "none", seeds="0-2"), ResultStore(tiny.results)
    waits = threading.Event()
    alive: list[int] = []
    found: list[Record] = []

    def hear(line: str) -> None:
        if "waiting for 1 trials" in line:
            alive.append(len(workers()))
            waits.set()

    def run(results: ResultStore) -> None:
        options = {"device": "cpu", "threads": 1, "jobs": 2}
        with listening(hear):
            found[:] = run_grid(grid, results, tiny, **options)

    elsewhere = ResultStore(tiny.home / "elsewhere")
    first = run_grid(
        grid_of(tiny, "none", seeds="0"),
        elsewhere,
        tiny,
        device="cpu",
        threads=1,
    )[0]
    with store.claim(first.key) as granted:
        assert granted
        thread = threading.Thread(target=run, args=(store,))
        thread.start()
        assert waits.wait(240)
        assert alive == [0]
        assert first.trial is not None
        outcome = Outcome(metrics=first.metrics, segments={}, ranks=elsewhere.ranks(first.key))
        store.write(finished(first.trial, outcome, {"by": "the other"}), outcome)
    thread.join(60)
    assert [record.is_done for record in found] == [True] * 3
    assert found[0].environment == {"by": "the other"}


@pytest.mark.parametrize("how", ["Ctrl-C", "terminated", "killed"])
def test_no_worker_outlives_its_run(tiny: Workspace, tmp_path: Path, how: str) -> None:
    pids = tmp_path / "pids"
    pids.mkdir()
    body = f"(pathlib.Path({str(pids)!r}) / str(os.getpid())).touch()"
    path = plugin(tmp_path, "writes-pids", body)
    endless = ["--set", "training.max_epochs=100000", "--set", "training.patience=100000"]
    arguments = bench(tiny, "--plugin", str(path), "-m", "writes-pids", "--seeds", "0-3", *endless)
    run = Forked(*arguments, stderr=tmp_path / "said")
    while len(list(pids.iterdir())) < 2:
        assert run.poll() is None, run.stderr
        time.sleep(0.02)
    if how == "Ctrl-C":
        os.killpg(run.pid, signal.SIGINT)
    else:
        run.send(signal.SIGTERM if how == "terminated" else signal.SIGKILL)
    code = {"Ctrl-C": 130, "terminated": -signal.SIGTERM, "killed": -signal.SIGKILL}
    assert run.wait() == code[how], run.stderr
    assert ("Interrupted" in run.stderr) == (how == "Ctrl-C")
    assert "Traceback" not in run.stderr

    deadline = time.monotonic() + 60
    while any(is_alive(path.name) for path in pids.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    store = ResultStore(tiny.results)
    assert len(list(pids.iterdir())) == 2
    assert [record.kind for record in store.records()] == ["reference"] * REFERENCES
    assert len(folders(store)) == REFERENCES
    assert claims(store) == []


def is_alive(pid: str) -> bool:
    """Whether there is such a process; one that only has not been waited for is none."""
    command = ["ps", "-o", "stat=", "-p", pid]
    state = subprocess.run(command, capture_output=True, text=True).stdout.strip()  # noqa: S603
    return state not in ("", "Z")


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
def test_a_wrong_number_of_jobs_is_refused(tiny: Workspace, value: str) -> None:
    run = CliRunner().invoke(main, ["run", "-d", "tiny", "-m", "none", f"--jobs={value}"])
    assert run.exit_code == 2
    assert f"'{value}' is neither a number from 1 to 9999 nor auto" in run.stderr
