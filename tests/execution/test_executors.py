"""What starts workers: options are checked, and a worker sees the GPU that was meant for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench.cli.main import main
from bench.config.grid import resolve
from bench.config.selection import Selection
from bench.errors import ConfigError
from bench.execution.inputs import Inputs, identify
from bench.execution.runner import Task
from bench.execution.worker import Job
from bench.executors.interface import EXECUTORS
from bench.executors.local import VISIBLE, visible
from bench.paths import Workspace
from bench.records.record import Retry
from bench.records.store import ResultStore


def run(tiny: Workspace, *arguments: str) -> Result:
    fixed = ["run", "-d", "tiny", "-s", "tiny", "-m", "none", "--device", "cpu", "--threads", "1"]
    return CliRunner().invoke(main, [*fixed, *arguments])


def test_each_worker_sees_one_gpu_before_it_imports_torch(tiny: Workspace) -> None:
    done = run(tiny, "--seeds", "0-5", "--gpus", "GPU-a,MIG-b")
    assert done.exit_code == 0, done.output
    records = [one for one in ResultStore(tiny.results).records() if one.kind == "trial"]
    assert len(records) == 6
    assert {record.environment["visible_gpus"] for record in records} == {"GPU-a", "MIG-b"}
    assert {record.environment["executor"] for record in records} == {"local"}
    assert all(record.environment["node"] for record in records)


def test_numbers_of_gpus_count_what_a_scheduler_left_visible() -> None:
    assert visible(("0", "3"), None) == ["0", "3"]
    assert visible(("1", "0"), "2,MIG-x") == ["MIG-x", "2"]
    assert visible(("GPU-7",), "2") == ["GPU-7"]
    with pytest.raises(ConfigError, match=f"no GPU 2 here: {VISIBLE}=4,5 leaves 2"):
        visible(("2",), "4,5")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--executor", "slrum"], "unknown executor 'slrum'. Did you mean 'slurm'?"),
        (["--executor", "slurm", "--executor-set", "partitoin=gpu"], "Did you mean 'partition'?"),
        (["--executor", "ray", "--executor-set", "gpus=-1"], "--executor-set of ray: 'gpus'"),
        (["--executor", "slurm", "--executor-set", "timeout_min=2"], "greater than or equal to 3"),
        (["--executor", "slurm", "--executor-set", "gpus=2"], "less than or equal to 1"),
        (["--executor", "slurm", "--executor-set", "signal_delay_s=3600"], "leaves a worker of"),
        (["--executor-set", "gpus"], "--executor-set gpus: expected key=value"),
        (["--gpus", "0,0"], "expected different GPUs"),
        (["--executor", "slurm", "--jobs", "4"], "give --workers"),
        (["--executor", "ray", "--gpus", "0"], "--gpus chooses among those of this machine"),
        (["--executor", "slurm", "--isolate"], "--isolate: not with --executor slurm, whose"),
        (["--executor", "ray", "--isolate"], "--isolate: not with --executor ray, whose"),
        (["--share", "0/2"], "'0/2' is no share"),
        (["--share", "3/2"], "'3/2' is no share"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_made(
    tiny: Workspace, arguments: list[str], message: str
) -> None:
    done = run(tiny, *arguments)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert not tiny.results.exists()


def test_a_machine_without_slurm_is_told_so(
    tiny: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run(tiny, "--executor", "slurm")
    assert done.exit_code == 2
    assert "--executor slurm: " in done.stderr
    assert [one.kind for one in ResultStore(tiny.results).records() if one.kind == "trial"] == []


def test_a_machine_with_other_code_or_data_refuses_the_trials(tiny: Workspace) -> None:
    grid = resolve(Selection(methods=["none"], datasets=["tiny"], students=["tiny"]), tiny)
    Inputs(grid, tiny).prepare_data()
    trials = [trial for trial in identify(grid, tiny) if trial is not None]
    store = ResultStore(tiny.results)
    job = Job.of(Task(trials, grid, store, tiny, "cpu", 1, Retry(), "ray"))
    assert job.task().trials == trials
    with pytest.raises(ConfigError, match=r"1 of 2 trials are not known in .* Copy datasets/"):
        job.model_copy(update={"keys": [*job.keys, "0" * 64]}).task()


def test_every_executor_says_what_it_can_be_told() -> None:
    for entry in EXECUTORS:
        for name, option in EXECUTORS.load(entry.name).Config.model_fields.items():
            assert option.description or entry.name == "slurm", name
    listed = CliRunner().invoke(main, ["list", "executors"]).output
    assert all(entry.name in listed for entry in EXECUTORS)
