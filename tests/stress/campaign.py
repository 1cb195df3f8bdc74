"""Kills, swaps, full disks and many processes: nothing is lost, and no number is under another key.

    python tests/stress/campaign.py [--kills 100] [--bombs 500] [--seed 0]

Runs the command line on a small dataset, again and again, in processes that are killed: at random
moments, and before each operation that puts a file or folder in its place. After every kill the
same command goes on; in the end every record is held against that of an undisturbed run. Beside
that, `bombs.py` reads files that are made to exhaust a machine. Prints tables; exits 1 where one
record differs, a command breaks, something is left behind, or a bomb is not met.

Processes are forked from this one, which has imported what they need: a kill falls into the work of
a command rather than into its imports.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

SUITE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SUITE))
os.environ["PYTHONPATH"] = str(SUITE)  # of what is not forked

import bench.cli.data  # noqa: E402
import bench.cli.report  # noqa: E402
import bench.cli.results  # noqa: E402
import bench.cli.run  # noqa: E402
import bench.cli.teacher  # noqa: E402
import bench.execution.trial  # noqa: E402
import bench.folders  # noqa: E402
import bench.reporting.markdown  # noqa: E402
import bench.students.recbole  # noqa: E402
from tests.forked import Forked  # noqa: E402

_FORKING = threading.Lock()

KILL_BEFORE = "KILL_BEFORE"
"""Environment of a process that is killed before its n-th operation."""

STUDENT = (
    "summary: a very small SASRec\nmodel: SASRec\n"
    "parameters: {hidden_size: 8, inner_size: 16, n_layers: 1, n_heads: 1}\n"
    "training: {max_epochs: 2, min_epochs: 1, batch_size: 64, learning_rate: 0.01}\n"
)

RUN = ["run", "-d", "tiny", "-s", "tiny", "-m", "none", "--seeds", "0-1"]
FIXED = ["--device", "cpu", "--threads", "1"]
TEACHER = ["teacher", "build", "-d", "tiny", "-t", "counting-markov", *FIXED]

_operations = 0


def counted(operation: Callable[..., Any]) -> Callable[..., Any]:
    """An operation of the file system before which this process may be killed."""

    def run(*arguments: Any, **options: Any) -> Any:
        global _operations
        if KILL_BEFORE in os.environ:
            _operations += 1
            if _operations == int(os.environ[KILL_BEFORE]):
                os.kill(os.getpid(), signal.SIGKILL)
        return operation(*arguments, **options)

    return run


for _name in ("rename", "replace", "link", "mkdir", "unlink", "rmdir", "fsync"):
    setattr(os, _name, counted(getattr(os, _name)))
bench.folders.exchange = counted(bench.folders.exchange)


class Broken(Exception):
    """Something that must not happen."""


@dataclass
class World:
    """A workspace of its own, with a dataset that trains in a blink."""

    home: Path
    kills: int = field(default=0, init=False)
    commands: int = field(default=0, init=False)

    def set_up(self) -> None:
        """Import the dataset; nothing is prepared."""
        students = self.home / "configs" / "students"
        students.mkdir(parents=True)
        (students / "tiny.yaml").write_text(STUDENT)
        self.table(320)
        self.must("data", "import", "tiny", str(self.home / "table.csv"))

    def table(self, rows: int) -> None:
        """Write interactions: item i leads to i + 1."""
        steps = [
            (user, (user + step) % 20, step * 100 + user)
            for user in range(20)
            for step in range(16)
        ]
        lines = [f"u{user:02},i{item:02},{at}" for user, item, at in steps[:rows]]
        (self.home / "table.csv").write_text("\n".join(["user,item,time", *lines]) + "\n")

    def start(self, *command: str, **variables: str) -> Forked:
        """Begin a command of the suite."""
        self.commands += 1
        said = self.home / f"said-{self.commands}.txt"
        return Forked(*command, stderr=said, BENCH_HOME=str(self.home), **variables)

    def must(self, *command: str, codes: tuple[int, ...] = (0,)) -> None:
        """Do a command, which must end with one of some codes and no error of the suite's own."""
        self.end(self.start(*command), command, codes)

    def end(self, process: Forked, command: tuple[str, ...], codes: tuple[int, ...] = (0,)) -> None:
        """Wait for a command, as `must`."""
        status, said = process.wait(600), process.stderr
        if status not in codes or "Error in the suite" in said or "Traceback" in said:
            raise Broken(f"bench {' '.join(command)} ended with {status}: {said[-2000:]}")

    def killed(self, process: Forked) -> bool:
        """Whether a process that has ended was killed."""
        died = process.wait(600) == -signal.SIGKILL
        self.kills += died
        return died

    def run(self, *more: str) -> list[str]:
        return [*RUN, *FIXED, *more]

    def results(self) -> dict[str, bytes]:
        """The ranks of every record."""
        found = (self.home / "results").glob("*/ranks.npy")
        return {path.parent.name: path.read_bytes() for path in found}

    def undisturbed(self) -> dict[str, bytes]:
        """The records of a run that nothing disturbs."""
        self.clear()
        self.must(*self.run())
        return self.results()

    def problems(self, truth: dict[str, bytes]) -> Iterator[str]:
        """Records that are missing or other than in an undisturbed run, and what was left."""
        found = self.results()
        yield from (f"record {key[:12]} is missing" for key in truth.keys() - found.keys())
        yield from (f"record {key[:12]} differs" for key in found if found[key] != truth.get(key))
        for mark in (".building-", ".writing-"):
            yield from (f"left behind: {path}" for path in self.home.rglob(f"*{mark}*"))

    def clear(self) -> None:
        shutil.rmtree(self.home / "results", ignore_errors=True)


Part = Callable[[World], Iterator[str]]
"""Does something to a world, and tells what went wrong."""


def random_kills(count: int, seed: int, world: World) -> Iterator[str]:
    """Kill a run somewhere."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    truth = world.undisturbed()
    world.clear()
    started = time.monotonic()
    world.must(*world.run())
    whole = time.monotonic() - started
    while world.kills < count:
        world.clear()
        process = world.start(*world.run())
        time.sleep(chance.uniform(0, whole))
        process.send(signal.SIGKILL)
        if not world.killed(process):
            continue
        world.must("report")
        world.must(*world.run())
        yield from world.problems(truth)


def kills_before_each_operation(world: World) -> Iterator[str]:
    """Kill commands before their n-th file operation, for every n, and do them again."""
    world.must(*TEACHER)
    truth = world.undisturbed()
    packed = world.home / "packed"
    shutil.copytree(world.home / "results", packed)
    importing = ["data", "import", "tiny", str(world.home / "table.csv"), "--force"]
    report, info = ["report"], ["teacher", "info", "-d", "tiny", "-t", "counting-markov"]
    replaced = [["list", "datasets"], ["data", "info", "tiny"]]
    for command, clears, looks in (
        (world.run(), True, [report]),
        (["results", "merge", str(packed)], True, [report]),
        (["results", "pack"], False, [report]),
        (importing, False, replaced),
        ([*TEACHER, "--force"], False, [info]),
    ):
        number, died = 0, True
        while died:
            number += 1
            if clears:
                world.clear()
            process = world.start(*command, **{KILL_BEFORE: str(number)})
            if died := world.killed(process):
                for look in looks:
                    world.must(*look)
                world.must(*command)
            yield from world.problems(truth)
        if process.wait() != 0:
            yield f"bench {' '.join(command)} ended with {process.wait()}: {process.stderr[-500:]}"
        world.must(*world.run())
        yield from world.problems(truth)


def swaps(count: int, seed: int, world: World) -> Iterator[str]:
    """Replace the data while runs plan and train; every record is that of its own data."""
    chance = random.Random(seed)  # noqa: S311 - no secret

    def swap(rows: int) -> None:
        world.table(rows)
        world.must("data", "import", "tiny", str(world.home / "table.csv"), "--force")

    truth: dict[str, bytes] = {}
    for rows in (312, 320):
        swap(rows)
        started = time.monotonic()
        truth |= world.undisturbed()
        whole = time.monotonic() - started
    for number in range(count):
        world.clear()
        process = world.start(*world.run())
        time.sleep(chance.uniform(0, whole))
        swap((312, 320)[number % 2])
        world.end(process, ("run",), codes=(0, 2))
        found = world.results()
        yield from (f"record {key[:12]} differs" for key in found if found[key] != truth.get(key))


def many_processes(world: World) -> Iterator[str]:
    """2, 4 and 8 runs at once on one folder, twice."""
    truth = world.undisturbed()
    for at_once in (2, 4, 8, 2, 4, 8):
        world.clear()
        for process in [world.start(*world.run()) for _ in range(at_once)]:
            world.end(process, ("run",))
        yield from world.problems(truth)


def full_disk(world: World) -> Iterator[str]:
    """No file may grow beyond some bytes, as on a disk that is full; then it may."""
    truth = world.undisturbed()
    for size in (10, 200, 1000, 5000):
        world.clear()
        command = [sys.executable, "-m", "bench", *world.run()]
        done = subprocess.run(  # noqa: S603 - not forked: what it says goes where there is room
            command,
            cwd=world.home,
            env=os.environ | {"BENCH_HOME": str(world.home)},
            capture_output=True,
            text=True,
            preexec_fn=lambda size=size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
        )
        if done.returncode not in (0, 1, 2) or "Error in the suite" in done.stderr:
            yield f"with {size} bytes a run ended with {done.returncode}: {done.stderr[-500:]}"
        world.must("report")
        world.must(*world.run("--retry-failed"))
        yield from world.problems(truth)


def main() -> int:
    """Run the campaign; 1 where something went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="at random moments")
    parser.add_argument("--bombs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    bombs = subprocess.Popen(  # noqa: S603
        [
            *(sys.executable, str(Path(__file__).with_name("bombs.py"))),
            *("--count", str(args.bombs), "--seed", str(args.seed)),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    parts: dict[str, Part] = {
        "killed before each file operation": kills_before_each_operation,
        **{
            f"killed at random, {half} half": partial(random_kills, args.kills // 2, chance)
            for half, chance in (("first", args.seed), ("second", args.seed + 1))
        },
        "data swapped in a run": partial(swaps, max(1, args.kills // 5), args.seed),
        "2 to 8 runs at once": many_processes,
        "full disk": full_disk,
    }
    started, failures = time.monotonic(), 0
    print("| part | commands | kills | seconds | what went wrong |\n|---|--:|--:|--:|---|")  # noqa: T201
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # each waits for a process of its own
        waiting = [pool.submit(in_a_process, name, part) for name, part in parts.items()]
        for done in as_completed(waiting):
            line, problems = done.result()
            failures += problems
            print(line, flush=True)  # noqa: T201
    print(f"\n{bombs.communicate()[0]}")  # noqa: T201
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(  # noqa: T201
        f"{time.monotonic() - started:.0f} seconds, {used.ru_utime + used.ru_stime:.0f} of the "
        f"processor, on {os.cpu_count()} cores"
    )
    return int(failures > 0 or bombs.returncode != 0)


def in_a_process(name: str, part: Part) -> tuple[str, int]:
    """A line of the table, and how many problems a part found, from a process of its own."""
    with _FORKING:  # no other part holds the end that is written to open
        receiving, sending = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(receiving)
            with os.fdopen(sending, "w") as stream:
                json.dump(carried_out(name, part), stream)
            os._exit(0)
        os.close(sending)
    with os.fdopen(receiving) as stream:
        said = stream.read()
    os.waitpid(process, 0)
    return tuple(json.loads(said)) if said else (f"| {name} | | | | ended without a word |", 1)


def carried_out(name: str, part: Part) -> tuple[str, int]:
    """The same of this process."""
    begun, problems = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        try:
            world.set_up()
            for problem in part(world):
                problems.append(problem)
        except Exception as error:
            problems.append(f"{type(error).__name__}: {error}")
    said = "; ".join(problems[:3]) or "nothing"
    counts = f"{world.commands} | {world.kills} | {time.monotonic() - begun:.0f}"
    return f"| {name} | {counts} | {said} |", len(problems)


if __name__ == "__main__":
    sys.exit(main())
