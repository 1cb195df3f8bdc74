"""Kills, swaps, full disks and many processes: nothing is lost, and no number is under another key.

    python tests/stress/campaign.py [--kills 100] [--seed 0] [--minutes 15]

Runs the command line on a small dataset, again and again, in processes that are killed: at random
moments, and before each operation that puts a file or folder in its place. After every kill the
same command goes on; in the end every record is held against that of an undisturbed run. Prints a
table; exits 1 where one record differs, a command breaks, or something is left behind.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SUITE = Path(__file__).resolve().parents[2]

HOOK = '''
"""Kills this process before the n-th operation that puts something in its place."""
import os, signal
left = int(os.environ.get("KILL_BEFORE", "0"))
def counted(operation):
    def run(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return operation(*arguments, **options)
    return run
if left:
    for name in ("rename", "replace", "mkdir", "unlink", "rmdir", "fsync"):
        setattr(os, name, counted(getattr(os, name)))
'''

STUDENT = (
    "summary: a very small SASRec\nmodel: SASRec\n"
    "parameters: {hidden_size: 8, inner_size: 16, n_layers: 1, n_heads: 1}\n"
    "training: {max_epochs: 2, min_epochs: 1, batch_size: 64, learning_rate: 0.01}\n"
)

RUN = ["run", "-d", "tiny", "-s", "tiny", "-m", "none", "--seeds", "0-1"]
FIXED = ["--device", "cpu", "--threads", "1"]


@dataclass
class World:
    """A workspace of its own, with a dataset that trains in a blink."""

    home: Path

    @classmethod
    def made(cls, home: Path) -> World:
        """The dataset is imported, nothing is prepared."""
        students = home / "configs" / "students"
        students.mkdir(parents=True)
        (students / "tiny.yaml").write_text(STUDENT)
        (home / "hook").mkdir()
        (home / "hook" / "sitecustomize.py").write_text(HOOK)
        world = cls(home)
        world.table(320)
        world.must("data", "import", "tiny", str(home / "table.csv"))
        return world

    def table(self, rows: int) -> None:
        """Write interactions: item i leads to i + 1."""
        steps = [
            (user, (user + step) % 20, step * 100 + user)
            for user in range(20)
            for step in range(16)
        ]
        lines = [f"u{user:02},i{item:02},{at}" for user, item, at in steps[:rows]]
        (self.home / "table.csv").write_text("\n".join(["user,item,time", *lines]) + "\n")

    def start(self, *command: str, **variables: str) -> subprocess.Popen[str]:
        """Begin a command of the suite."""
        path = os.pathsep.join([str(self.home / "hook"), str(SUITE)])
        environment = os.environ | {"BENCH_HOME": str(self.home), "PYTHONPATH": path} | variables
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "bench", *command],
            cwd=self.home,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def must(self, *command: str, codes: tuple[int, ...] = (0,)) -> str:
        """Do a command, which must end with one of some codes and no error of the suite's own."""
        process = self.start(*command)
        _, stderr = process.communicate(timeout=600)
        if process.returncode not in codes or "Error in the suite" in stderr:
            raise Broken(
                f"bench {' '.join(command)} ended with {process.returncode}: {stderr[-2000:]}"
            )
        return stderr

    def run(self, *more: str) -> list[str]:
        return [*RUN, *FIXED, *more]

    def results(self) -> dict[str, bytes]:
        """The ranks of every record."""
        found = (self.home / "results").glob("*/ranks.npy")
        return {path.parent.name: path.read_bytes() for path in found}

    def leftovers(self) -> list[str]:
        """What no command that ended well may leave."""
        return [
            str(path)
            for mark in (".building-", ".writing-")
            for path in self.home.rglob(f"*{mark}*")
        ]

    def clear(self) -> None:
        shutil.rmtree(self.home / "results", ignore_errors=True)


class Broken(Exception):
    """Something that must not happen."""


def random_kills(
    world: World, count: int, chance: random.Random, until: Callable[[], bool]
) -> Iterator[str]:
    """Kill a run somewhere in its first seconds."""
    started = time.monotonic()
    world.must(*world.run())
    whole, truth = time.monotonic() - started, world.results()
    for done in range(count):
        if until():
            yield f"only {done} of {count} kills in the time there was"
            return
        world.clear()
        process = world.start(*world.run())
        time.sleep(chance.uniform(0.2, whole))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        world.must("report")
        world.must(*world.run())
        yield from differences(world, truth)


def kills_before_each_operation(world: World, until: Callable[[], bool]) -> Iterator[str]:
    """Kill a run, and a `--force`, before its n-th file operation, for every n."""
    world.must(*world.run())
    truth = world.results()
    importing = ["data", "import", "tiny", str(world.home / "table.csv"), "--force"]
    for command, clears in ((world.run(), True), (importing, False)):
        number = 0
        while not until():
            number += 1
            if clears:
                world.clear()
            process = world.start(*command, KILL_BEFORE=str(number))
            process.communicate()
            if process.returncode == 0:
                break
            listed = world.must("list", "datasets")
            world.must("data", "info", "tiny")
            world.must("report")
            world.must(*world.run())
            yield from differences(world, truth)
            del listed


def swaps(world: World, count: int, chance: random.Random) -> Iterator[str]:
    """Replace the data while runs plan and train; every record is that of its own data."""
    truth: dict[str, bytes] = {}
    for rows in (312, 320):
        world.table(rows)
        world.must("data", "import", "tiny", str(world.home / "table.csv"), "--force")
        world.clear()
        world.must(*world.run())
        truth |= world.results()
    world.clear()
    for number in range(count):
        process = world.start(*world.run())
        time.sleep(chance.uniform(0.5, 6.0))
        world.table((312, 320)[number % 2])
        world.must("data", "import", "tiny", str(world.home / "table.csv"), "--force")
        _, stderr = process.communicate(timeout=600)
        if process.returncode not in (0, 2) or "Error in the suite" in stderr:
            yield f"a swap ended a run with {process.returncode}: {stderr[-500:]}"
        found = world.results()
        yield from (key for key in found if found[key] != truth.get(key))
        world.clear()


def many_processes(world: World, count: int) -> Iterator[str]:
    """2, 4 and 8 runs at once on one folder."""
    world.clear()
    world.must(*world.run())
    truth = world.results()
    for at_once in (2, 4, 8)[:count]:
        world.clear()
        for process in [world.start(*world.run()) for _ in range(at_once)]:
            _, stderr = process.communicate(timeout=900)
            if process.returncode:
                yield f"one of {at_once} runs ended with {process.returncode}: {stderr[-500:]}"
        yield from differences(world, truth)


def full_disk(world: World) -> Iterator[str]:
    """No file may grow beyond some bytes, as on a disk that is full; then it may."""
    world.clear()
    world.must(*world.run())
    truth = world.results()
    for size in (10, 200, 1000, 5000):
        world.clear()
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            world.must(*world.run(), codes=(0, 1, 2))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        world.must(*world.run("--retry-failed"))
        yield from differences(world, truth)


def differences(world: World, truth: dict[str, bytes]) -> Iterator[str]:
    """Records that are missing or other than in an undisturbed run, and what was left behind."""
    found = world.results()
    yield from (f"record {key[:12]} is missing" for key in truth.keys() - found.keys())
    yield from (f"record {key[:12]} differs" for key in found if found[key] != truth.get(key))
    yield from (f"left behind: {name}" for name in world.leftovers())


def main() -> int:
    """Run the campaign; 1 where something went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=15.0)
    args = parser.parse_args()
    started, chance = time.monotonic(), random.Random(args.seed)  # noqa: S311

    def over() -> bool:
        return time.monotonic() - started > 60 * args.minutes

    parts: dict[str, Callable[[World], Iterator[str]]] = {
        "full disk": full_disk,
        "2 to 8 runs at once": lambda world: many_processes(world, 3),
        "data swapped in a run": lambda world: swaps(world, max(1, args.kills // 10), chance),
        "killed before each file operation": lambda world: kills_before_each_operation(world, over),
        "killed at random": lambda world: random_kills(world, args.kills, chance, over),
    }
    failures = 0
    print("| part | seconds | what went wrong |\n|---|---|---|")  # noqa: T201
    for name, part in parts.items():
        begun, problems = time.monotonic(), []
        with tempfile.TemporaryDirectory() as folder:
            try:
                for problem in part(World.made(Path(folder))):
                    problems.append(problem)
            except Broken as error:
                problems.append(str(error))
        failures += len(problems)
        said = "; ".join(problems[:3]) or "nothing"
        print(f"| {name} | {time.monotonic() - begun:.0f} | {said} |", flush=True)  # noqa: T201
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
