"""The same grid under every executor, with real engines: a Slurm cluster and a Ray cluster.

    python -m pytest -m engine tests/engines

They take minutes and are not among the usual tests. Slurm is that of the system (`apt install
slurm-wlm munge`, as root) with `pip install '.[slurm]'`; Ray is `pip install '.[ray]'`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.paths import SHIPPED
from bench.records.record import Record
from bench.records.store import ResultStore

from . import slurm

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

SHORT = ["training.max_epochs=2", "training.min_epochs=1"]
GRID = [
    *("-d", "synthetic-small", "-m", "none", "-m", "rd", "-m", "hint", "-m", "dllm2rec"),
    *("-s", "sasrec", "-s", "gru4rec", "--seeds", "0-2", "--threads", "1", "--device", "cpu"),
    *(word for setting in SHORT for word in ("--set", setting)),
]
"""24 trials."""

SLOW = """
import os, time
from torch import Tensor
from bench.registry import register_method
from bench.distillation import Batch, Method, Output

@register_method("slow")
class Slow(Method):
    \"\"\"`none`, with epochs that take as long as the environment says.\"\"\"
    def on_epoch_start(self, epoch: int, max_epochs: int) -> dict[str, float]:
        time.sleep(float(os.environ.get("BENCH_TEST_SLEEP", 0)))
        return {}
    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        return {}
"""

FEW = ["-d", "synthetic-small", "-m", "slow", "--threads", "1", "--device", "cpu"]
FEW += ["--seeds", "0-2", "--set", "training.max_epochs=8", "--set", "training.min_epochs=8"]
FEW += ["--set", "training.batch_size=2048"]
"""Three trials that take as long as one likes, so that there is time to interrupt them."""


class Engine:
    """An executor with the options that reach a cluster, and a home for it."""

    def __init__(self, home: Path, options: list[str], variables: dict[str, str]) -> None:
        self.home, self.options = home, options
        self.variables = {**os.environ, **variables, "BENCH_HOME": str(home)}

    def command(self, name: str, *arguments: str, results: Path) -> list[str]:
        plugin = ["--plugin", str(self.home / "slow.py")] if "slow" in arguments else []
        command = [sys.executable, "-m", "bench", name, *plugin, *arguments]
        return [*command, "--results", str(results)]

    def start(
        self, *arguments: str, results: Path, state: float = 0, sleep: float = 0
    ) -> subprocess.Popen[str]:
        """A run whose trials keep a state every `state` seconds, and sleep before each epoch."""
        own = {"BENCH_STATE_SECONDS": str(state), "BENCH_TEST_SLEEP": str(sleep)}
        return subprocess.Popen(  # noqa: S603
            [*self.command("run", *arguments, results=results), *self.options],
            cwd=SHIPPED,
            env={**self.variables, **own},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, results: Path) -> tuple[int, str]:
        run = self.start(*arguments, results=results)
        _, stderr = run.communicate(timeout=1500)
        return run.returncode, stderr


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A workspace whose data and teachers are made once."""
    with tempfile.TemporaryDirectory(prefix="engines-") as folder:
        (Path(folder) / "slow.py").write_text(SLOW)
        yield Path(folder)


@pytest.fixture(scope="module")
def slurm_engine(home: Path) -> Iterator[Engine]:
    if why := slurm.missing() or ("" if importlib.util.find_spec("submitit") else "no submitit"):
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    slurm.start(folder)
    try:
        options = ["--executor", "slurm", "--workers", "3"]
        yield Engine(home, options, slurm.environment(folder))
    finally:
        slurm.stop(folder)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def ray_cluster(home: Path) -> Iterator[tuple[Any, Engine]]:
    """A Ray cluster of two nodes of this machine, with two processors each."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("no ray")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 2, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        cluster.add_node(**node)
        options = ["--executor", "ray", "--workers", "3"]
        yield cluster, Engine(home, [*options, "--executor-set", f"address={cluster.address}"], {})
    finally:
        cluster.shutdown()


@pytest.fixture(scope="module")
def ray_engine(home: Path) -> Iterator[Engine]:
    with ray_cluster(home) as (_, engine):
        yield engine


@pytest.fixture(params=["slurm", "ray"])
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.getfixturevalue(f"{request.param}_engine")
    return found


@pytest.fixture(scope="module")
def local(home: Path) -> Callable[..., ResultStore]:
    """What the executor `local` makes of a grid, made once."""
    made: dict[str, ResultStore] = {}

    def run(*grid: str) -> ResultStore:
        name = " ".join(grid)
        if name not in made:
            folder = home / f"local-{len(made)}"
            engine = Engine(home, ["--jobs", "2"], {})
            status, stderr = engine.run(*grid, results=folder)
            assert status == 0, stderr
            made[name] = ResultStore(folder)
        return made[name]

    return run


def trials(folder: Path) -> list[Record]:
    return [record for record in ResultStore(folder).records() if record.kind == "trial"]


def same(expected: ResultStore, folder: Path) -> None:
    """The same keys, ranks and students; no state or claim is left."""
    found = ResultStore(folder)
    keys = [record.key for record in trials(expected.folder)]
    assert [record.key for record in trials(folder)] == keys
    for key in keys:
        np.testing.assert_array_equal(expected.ranks(key), found.ranks(key))
        student = [store.folder / key / "student.safetensors" for store in (expected, found)]
        assert student[0].read_bytes() == student[1].read_bytes()
    left = [path for part in (".states", ".claims") for path in folder.glob(f"{part}/*")]
    assert left == []


def workers(results: Path) -> list[int]:
    """Process ids of the workers that are training for a results folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes()
                files = [str(p.readlink()) for p in (entry / "fd").iterdir()]
            except OSError:
                continue
            if b"bench.execution.worker" in command and any(str(results) in f for f in files):
                found.append(int(entry.name))
    return found


def wait_for(condition: Callable[[], object], run: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert run.poll() is None, run.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.2)


def states(results: Path) -> list[Path]:
    return [path for path in results.glob(".states/*") if not path.name.startswith(".")]


def test_a_grid_has_the_records_that_local_workers_make(
    engine: Engine, local: Callable[..., ResultStore], tmp_path: Path
) -> None:
    status, stderr = engine.run(*GRID, results=tmp_path)
    assert status == 0, stderr
    assert len(trials(tmp_path)) == 24
    assert stderr.count("starts on cpu") == 24, "each trial is run once"
    same(local(*GRID), tmp_path)
    name = engine.options[1]
    assert {record.environment["executor"] for record in trials(tmp_path)} == {name}


def the_same_command_finishes(engine: Engine, local: ResultStore, results: Path) -> str:
    """Run it again: the records are those of local workers. Returns what it says."""
    status, stderr = engine.run(*FEW, results=results)
    assert status == 0, stderr
    assert "goes on after epoch" in stderr
    same(local, results)
    return stderr


def test_a_worker_killed_in_a_trial(
    engine: Engine, local: Callable[..., ResultStore], tmp_path: Path
) -> None:
    run = engine.start(*FEW, results=tmp_path, sleep=2)
    wait_for(lambda: states(tmp_path) and workers(tmp_path), run)
    os.kill(workers(tmp_path)[0], signal.SIGKILL)
    _, stderr = run.communicate(timeout=900)
    assert run.returncode == 1, stderr
    assert "lost-worker" in stderr and "SIGKILL" in stderr
    assert [record.status for record in trials(tmp_path)].count("lost-worker") == 1
    status, stderr = engine.run(*FEW, results=tmp_path)
    assert status == 0, stderr
    same(local(*FEW), tmp_path)


def test_the_submitting_process_killed(
    engine: Engine, local: Callable[..., ResultStore], tmp_path: Path
) -> None:
    run = engine.start(*FEW, results=tmp_path, sleep=2)
    wait_for(lambda: len(states(tmp_path)) == 3, run)
    run.kill()
    run.communicate()
    status, stderr = engine.run(*FEW, results=tmp_path)
    assert status == 0, stderr
    same(local(*FEW), tmp_path)


def test_the_whole_allocation_cancelled(
    slurm_engine: Engine, local: Callable[..., ResultStore], tmp_path: Path
) -> None:
    run = slurm_engine.start(*FEW, results=tmp_path, sleep=2)
    wait_for(lambda: len(states(tmp_path)) == 3, run)
    subprocess.run(["scancel", "--user=root"], env=slurm_engine.variables, check=True)  # noqa: S607
    _, stderr = run.communicate(timeout=300)
    assert run.returncode == 1, stderr
    assert "The same command goes on" in stderr
    assert trials(tmp_path) == []
    the_same_command_finishes(slurm_engine, local(*FEW), tmp_path)


def test_the_whole_ray_cluster_goes_down(
    home: Path, local: Callable[..., ResultStore], tmp_path: Path
) -> None:
    with ray_cluster(home) as (cluster, engine):
        run = engine.start(*FEW, results=tmp_path, sleep=3)
        wait_for(lambda: len(states(tmp_path)) == 3, run)
        cluster.shutdown()
    _, stderr = run.communicate(timeout=300)
    assert run.returncode == 1, stderr
    assert trials(tmp_path) == []
    with ray_cluster(home) as (_, engine):
        the_same_command_finishes(engine, local(*FEW), tmp_path)


def test_a_ray_node_that_leaves_frees_its_trials_for_the_others(
    home: Path, local: Callable[..., ResultStore], tmp_path: Path
) -> None:
    with ray_cluster(home) as (cluster, engine):
        run = engine.start(*FEW, results=tmp_path, sleep=2)
        wait_for(lambda: len(states(tmp_path)) == 3, run)
        (node,) = cluster.worker_nodes
        cluster.remove_node(node, allow_graceful=False)
        _, stderr = run.communicate(timeout=300)
        assert run.returncode == 0, stderr
        assert "is lost, no trial with it" in stderr and "goes on after epoch" in stderr
    same(local(*FEW), tmp_path)


def test_a_wall_time_requeues_the_workers(
    slurm_engine: Engine, local: Callable[..., ResultStore], tmp_path: Path
) -> None:
    """Slurm counts wall times in minutes, and signals up to one before it was asked to."""
    options = [*slurm_engine.options, "--executor-set", "timeout_min=3"]
    short = Engine(
        slurm_engine.home,
        [*options, "--executor-set", "signal_delay_s=120"],
        slurm_engine.variables,
    )
    run = short.start(*FEW, results=tmp_path, sleep=12)
    _, stderr = run.communicate(timeout=900)
    assert run.returncode == 0, stderr
    assert "goes on after epoch" in stderr
    same(local(*FEW), tmp_path)


def test_the_line_for_any_scheduler_at_its_wall_time(
    slurm_engine: Engine, local: Callable[..., ResultStore], tmp_path: Path
) -> None:
    """Slurm ends a job that has not ended by itself with SIGTERM, and kills it 20 seconds later."""
    variables = slurm_engine.variables | {"BENCH_STATE_SECONDS": "0", "BENCH_TEST_SLEEP": "15"}
    line = f"exec {shlex.join(slurm_engine.command('work', *FEW, results=tmp_path))}"
    log = tmp_path.parent / "work.log"
    sbatch = ["sbatch", "--parsable", "--array=1-3", "--time=1", f"--output={log}", "--wrap", line]

    def submit(**changes: str) -> None:
        done = subprocess.run(  # noqa: S603
            [sbatch[0], "--wait", f"--chdir={SHIPPED}", *sbatch[1:]],
            env=variables | changes,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert not done.stderr, done.stderr

    submit()
    assert "the next worker goes on" in log.read_text()
    assert trials(tmp_path) == [] and len(states(tmp_path)) == 3
    submit(BENCH_TEST_SLEEP="0")
    same(local(*FEW), tmp_path)


def test_a_preemption_requeues_the_workers(
    slurm_engine: Engine, local: Callable[..., ResultStore], tmp_path: Path
) -> None:
    run = slurm_engine.start(*FEW, results=tmp_path, sleep=2)
    wait_for(lambda: len(states(tmp_path)) == 3, run)
    signal_before = ["scancel", "--signal=USR2", "--user=root", "--state=RUNNING"]
    subprocess.run(signal_before, env=slurm_engine.variables, check=True)  # noqa: S603
    _, stderr = run.communicate(timeout=900)
    assert run.returncode == 0, stderr
    assert "goes on after epoch" in stderr
    same(local(*FEW), tmp_path)


def test_a_full_queue_is_waited_for_and_one_that_refuses_says_so(
    slurm_engine: Engine, local: Callable[..., ResultStore], tmp_path: Path
) -> None:
    variables = slurm_engine.variables
    blocker = subprocess.run(
        ["sbatch", "--parsable", "--array=0-2", "--output=/dev/null", "--wrap", "sleep 600"],  # noqa: S607
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    run = slurm_engine.start(*FEW, results=tmp_path)
    try:
        time.sleep(15)
        assert run.poll() is None and trials(tmp_path) == [] and states(tmp_path) == []
    finally:
        subprocess.run(["scancel", blocker], env=variables, check=True)  # noqa: S603, S607
    _, stderr = run.communicate(timeout=600)
    assert run.returncode == 0, stderr
    same(local(*FEW), tmp_path)

    many = Engine(slurm_engine.home, ["--executor", "slurm", "--workers", "50"], variables)
    status, stderr = many.run(*GRID, results=tmp_path / "refused")
    assert status == 2, stderr
    assert "sbatch refused" in stderr and "Nothing was submitted" in stderr
    assert trials(tmp_path / "refused") == []


def test_workers_wait_for_ray_nodes_that_are_busy(
    ray_engine: Engine, local: Callable[..., ResultStore], tmp_path: Path
) -> None:
    block = "import ray, time; ray.init(logging_level='ERROR')\n"
    block += "hold = ray.remote(num_cpus=1)(lambda: time.sleep(600))\n"
    block += "held = [hold.remote() for _ in range(4)]; print('held', flush=True); ray.get(held)"
    address = {"RAY_ADDRESS": ray_engine.options[-1].removeprefix("address=")}
    blocker = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", block],
        env=ray_engine.variables | address,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert blocker.stdout is not None and blocker.stdout.readline() == "held\n"
    time.sleep(5)
    run = ray_engine.start(*FEW, results=tmp_path)
    try:
        time.sleep(20)
        assert run.poll() is None and trials(tmp_path) == [] and states(tmp_path) == []
    finally:
        blocker.kill()
        blocker.communicate()
    _, stderr = run.communicate(timeout=600)
    assert run.returncode == 0, stderr
    same(local(*FEW), tmp_path)


def test_ray_brings_records_from_nodes_that_share_no_disk(
    ray_engine: Engine, local: Callable[..., ResultStore], tmp_path: Path
) -> None:
    far = tmp_path / "node"
    for part in ("datasets", "tocf"):
        shutil.copytree(ray_engine.home / part, far / part)
    options = [*ray_engine.options, "--executor-set", f"home={far}"]
    engine, results = Engine(ray_engine.home, options, {}), tmp_path / "results"
    local(*GRID)  # makes data and teachers
    status, stderr = engine.run(*GRID, results=results)
    assert status == 0, stderr
    same(local(*GRID), results)
    shutil.rmtree(results)
    status, stderr = engine.run(*GRID, results=results)  # they are on the node already
    assert status == 0, stderr
    assert "starts on" not in stderr
    same(local(*GRID), results)
