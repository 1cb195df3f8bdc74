"""What checks and syncs cost of a run: their share of its time, on the clock and of the processor.

    python benchmarks/checks.py [--epochs 10]

One `bench run` of two methods on made-up data, from nothing, in this process: what sees that data,
teachers, tensors and records are what they say they are, and what waits for the disk, is timed
where it is called. A share of one run is the same however busy the machine is; two runs would not
tell 2 % apart.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import click

import bench.data.store
import bench.execution.hygiene
import bench.files
import bench.records.record
import bench.records.store
import bench.teachers.contract
import bench.teachers.manifest
from bench.cli.main import main as bench_command

PARTS = {
    "waiting for the disk (fsync)": [(bench.files, "_sync")],
    "data against their fingerprints": [(bench.data.store, "_check")],
    "teachers against their hashes": [
        (bench.teachers.contract, "sha256_of"),
        (bench.teachers.manifest, "sha256_of"),
    ],
    "tensors that methods only read": [
        (bench.execution.hygiene, "_hash"),
        (bench.execution.hygiene, "_is_written"),
    ],
    "records against keys, hashes and ranks": [
        (bench.records.store, "check"),
        (bench.records.record, "hashes"),
    ],
}


class Timed:
    """Functions whose time counts, and what they took."""

    def __init__(self) -> None:
        self.calls, self.clock, self.processor = 0, 0.0, 0.0
        self._inside = False

    def watch(self, module: Any, name: str) -> None:
        setattr(module, name, self._timed(getattr(module, name)))

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            if self._inside:  # one of them calls another
                return function(*arguments, **options)
            self._inside, clock, processor = True, time.perf_counter(), time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                self._inside = False
                self.calls += 1
                self.clock += time.perf_counter() - clock
                self.processor += time.process_time() - processor

        return run


@click.command()
@click.option("--epochs", default=10, show_default=True)
def main(epochs: int) -> None:
    """Print a table."""
    parts = {name: Timed() for name in PARTS}
    for name, functions in PARTS.items():
        for module, function in functions:
            parts[name].watch(module, function)
    command = ["run", "-d", "synthetic-small", "-m", "none", "-m", "ranking-only"]
    command += ["-t", "counting-markov", "--device", "cpu", "--threads", "1"]
    command += ["--set", f"training.max_epochs={epochs}", "--set", f"training.min_epochs={epochs}"]
    with tempfile.TemporaryDirectory() as home:
        os.environ["BENCH_HOME"] = home
        clock, processor = time.perf_counter(), time.process_time()
        bench_command(command, standalone_mode=False)
        clock, processor = time.perf_counter() - clock, time.process_time() - processor
    click.echo("\n| what | calls | of the clock | of the processor |\n|---|--:|--:|--:|")
    for name, part in parts.items():
        shares = f"{part.clock / clock:.2%} | {part.processor / processor:.2%}"
        click.echo(f"| {name} | {part.calls} | {shares} |")
    told = (sum(part.clock for part in parts.values()), sum(p.processor for p in parts.values()))
    click.echo(f"| all | | {told[0] / clock:.2%} | {told[1] / processor:.2%} |")
    click.echo(f"\nThe run: {clock:.0f} s, {processor:.0f} s of the processor")


if __name__ == "__main__":
    main()
