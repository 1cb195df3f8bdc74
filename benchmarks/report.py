"""What a report of many records costs: processor time and peak memory of `bench report`.

    python benchmarks/report.py [--records 5000] [--examples 2000] [--folder FOLDER]

The records are made up: one dataset, five settings, methods in variants, five seeds each, ranks of
every test example. A second run with the same folder makes nothing.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.evaluation.metrics import metrics_from_ranks
from bench.plan import Trial
from bench.records.record import Outcome, finished
from bench.records.store import ResultStore
from bench.students.config import StudentConfig
from bench.training.config import TrainingConfig

SETTINGS, SEEDS, METHODS = 5, 5, 40
ENVIRONMENT = {
    "machine": "x86_64",
    "device": "cpu",
    "device_name": "some processor",
    "cores": 8,
    "threads": 1,
    "python": "3.12",
    "packages": {"torch": "2.13.0"},
}


def make(folder: Path, records: int, examples: int) -> None:
    """Write records of trials that never ran, as trials write theirs."""
    store, random = ResultStore(folder), np.random.default_rng(0)
    store.write_users("f" * 64, np.sort(random.integers(0, examples // 2, examples)))
    for number in range(records):
        seed, rest = number % SEEDS, number // SEEDS
        setting, method = rest % SETTINGS, rest // SETTINGS
        trial = Trial(
            dataset="made-up",
            protocol="temporal-10",
            student=f"student-{setting}",
            student_config=StudentConfig(model="SASRec", parameters={"hidden_size": 64}),
            training=TrainingConfig(learning_rate=1e-3 * (setting + 1)),
            method="none" if method == 0 else f"method-{method % METHODS}",
            method_settings={"weight": 0.1 * (method // METHODS + 1)},
            method_code=f"{method:064x}",
            teacher=None if method == 0 else "text",
            seed=seed,
            data_fingerprint="f" * 64,
            teacher_fingerprint=None if method == 0 else "e" * 64,
        )
        ranks = random.integers(1, 5000, examples).astype(np.int32)
        metrics = metrics_from_ranks(ranks)
        parts = ("cold", "rare", "warm", "head", "tail", *(f"history {n}" for n in range(5)))
        outcome = Outcome(
            metrics={"valid": metrics, "test": metrics, "test-masked": metrics},
            segments={name: {"rows": examples // 3, **metrics} for name in parts},
            ranks=ranks,
            masked_ranks=ranks,
            curve=[{"epoch": epoch, "loss": 1.0} for epoch in range(20)],
            best_epoch=10,
            epochs=20,
            steps=2000,
            timings={"train_seconds": 60.0, "train_cpu_seconds": 60.0, "total_seconds": 70.0},
            parameters={"training": 1_000_000, "inference": 900_000},
            latency={"ms_p50": 1.0, "ms_p95": 1.5},
        )
        store.write(finished(trial, outcome, ENVIRONMENT), outcome)


def measured(folder: Path, *arguments: str) -> tuple[float, float, float]:
    """Seconds of the clock and of the processor, and gigabytes, of `bench report`."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "bench", "report", "--results", str(folder), *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, after.ru_maxrss / 2**20


def main() -> None:
    """Measure twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=5000)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        if not folder.is_dir() or not any(folder.iterdir()):
            make(folder, args.records, args.examples)
        for _ in range(2):  # the second finds the files in memory, and what the first kept
            wall, cpu, gigabytes = measured(folder)
            print(  # noqa: T201
                f"{args.records} records: {wall:.1f} s, {cpu:.1f} s of the processor, "
                f"{gigabytes:.2f} GB"
            )


if __name__ == "__main__":
    main()
