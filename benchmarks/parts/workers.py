"""What a worker costs before its first trial, and how soon finished trials are recognised."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from bench.config.grid import resolve
from bench.config.selection import Selection
from bench.execution.inputs import identify
from bench.execution.runner import Task
from bench.execution.worker import Job
from bench.paths import Workspace
from bench.plan import Trial
from bench.records.record import Record, Retry
from bench.records.store import RECORD, ResultStore
from benchmarks.parts.comparison import Line, Run
from benchmarks.parts.spent import spent

FINISHED = 1000
SHORTEST = ("training.max_epochs=1", "training.min_epochs=1")


def lines(run: Run) -> Iterator[Line]:
    """Seconds of the CPU."""
    workspace, store = Workspace(Path(run.start.home)), ResultStore(run.folder / "finished")
    home = os.environ | {"BENCH_HOME": run.start.home}
    options = ["-d", run.start.name, "-m", "none", "--device", run.device, "--threads", "1"]
    options += ["--results", str(store.folder), *(word for s in SHORTEST for word in ("--set", s))]
    spent(["-m", "bench", "run", *options], home)
    (made,) = (record for record in store.records() if record.trial)
    selection = Selection(
        methods=["none"], datasets=[run.start.name], seeds=f"0-{FINISHED - 1}", overrides=SHORTEST
    )
    grid = resolve(selection, workspace)
    trials = [trial for trial in identify(grid, workspace) if trial is not None]

    free = ResultStore(run.folder / "claimed")
    task = Task(trials[:1], grid, free, workspace, run.device, 1, Retry())
    with free.claim(trials[0].key):  # so that the worker finds nothing to run
        job = f"{Job.of(task).model_dump_json()}\n"
        turns = [
            [
                spent(["-m", "bench.execution.worker"], home, job)[0],
                spent(["-c", "import torch"], home)[0],
            ]
            for _ in range(run.repetitions)
        ]
    own, other = (min(column) for column in zip(*turns, strict=True))
    what, reference = "a worker that finds nothing to run, CPU", "import torch"
    yield Line("workers", what, "s", own, reference, other, other / own)

    for trial in trials:
        _copy(made, trial, store.folder)
    for command in ("work", "run"):
        arguments = ["-m", "bench", command, *options, "--seeds", selection.seeds]
        least = min(spent(arguments, home)[0] for _ in range(run.repetitions))
        yield Line("workers", f"bench {command}: {FINISHED:,} finished trials, CPU", "s", least)


def _copy(made: Record, trial: Trial, folder: Path) -> None:
    """Give a trial the record of another one, whose ranks and metrics are as good."""
    with contextlib.suppress(FileExistsError):
        shutil.copytree(folder / made.key, folder / trial.key)
        record = made.model_copy(update={"trial": trial, "key": trial.key})
        text = json.dumps(record.model_dump(mode="json"), indent=2)
        (folder / trial.key / RECORD).write_text(text, encoding="utf-8")
