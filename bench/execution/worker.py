"""A worker: one more process on a results folder, which runs what nobody else runs, and ends.

It reads its job from stdin, which stays open as long as somebody waits for it, and says what it
does on stdout: one JSON text a line, after a mark that tells it from what else is printed.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import logging
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bench import progress
from bench.config.grid import Grid, resolve
from bench.config.search import Search
from bench.config.selection import Selection
from bench.errors import BenchError, ConfigError, DeviceLost, InputsChanged, Terminated
from bench.execution import stopping
from bench.execution.devices import LOCAL, resolve_device
from bench.execution.inputs import Inputs, identify
from bench.execution.runner import Task, run_trials
from bench.paths import Workspace
from bench.plan import Trial
from bench.progress import Advance, TaskFormatter
from bench.records.record import Retry
from bench.records.store import ResultStore
from bench.registry import METHODS

MARK = "\x1e"
"""Before each JSON text, as in RFC 7464."""

WITHOUT_DEVICE = 3
"""What a worker exits with that can no longer use its device; the others can."""

GRACE_SECONDS = 10.0
"""How long it may take to let go of a trial when nobody waits any more."""


class Job(BaseModel):
    """What a worker must know.

    Attributes:
        home: of the workspace.
        results: folder of the records.
        plugins: files with methods.
        selection: makes the grid, with `search` as in `resolve`.
        keys: of the trials to run.
        device: a torch device.
        threads: of each trial.
        retry: see `Task`.
        executor: see `Task`.
        trackers: see `Task`.
        draws: whether loops are shown by whoever started the worker.
        brings: whether its records are taken elsewhere: `results` is a folder of its machine.
    """

    home: Path
    results: Path
    plugins: list[Path]
    selection: Selection
    search: Search | None
    keys: list[str]
    device: str
    threads: int
    retry: Retry
    executor: str
    trackers: tuple[str, ...] = ()
    draws: bool
    brings: bool = False

    @classmethod
    def of(cls, task: Task) -> Job:
        """The job of a worker that helps with a task."""
        return cls(
            home=task.workspace.home,
            results=task.store.folder,
            plugins=sorted({entry.path for entry in METHODS if entry.is_plugin}),
            selection=task.grid.selection,
            search=task.grid.search,
            keys=[trial.key for trial in task.trials],
            device=task.device,
            threads=task.threads,
            retry=task.retry,
            executor=task.executor,
            trackers=task.trackers,
            draws=progress.has_display(),
        )

    def task(self) -> Task:
        """The task as this process finds it; data and teachers that are missing here are made.

        Raises:
            ConfigError: data or teachers here are not those of the trials.
        """
        for path in self.plugins:
            METHODS.add_plugin(path)
        workspace = Workspace(self.home)
        grid = resolve(self.selection, workspace, search=self.search)
        trials = self._found(grid, workspace)
        # Here they were there a moment ago: whoever waits says what became of the others.
        elsewhere = self.executor != LOCAL
        if elsewhere and len(trials) < len(self.keys):
            # Without a shared disk every machine makes its own.
            inputs = Inputs(grid, workspace)
            inputs.prepare_data()
            device = resolve_device(self.device)
            inputs.build_teachers([spec.teacher_name for spec in grid.trials], device)
            inputs.release()
            trials = self._found(grid, workspace)
        if elsewhere and len(trials) < len(self.keys):
            raise ConfigError(
                f"{platform.node()}: {len(self.keys) - len(trials)} of {len(self.keys)} trials "
                f"are not known in {self.home}: its configuration, data, teachers or code are "
                "not those of the machine that asks for them. Copy datasets/ and tocf/ from there"
            )
        store = ResultStore(self.results)
        return Task(
            trials,
            grid,
            store,
            workspace,
            self.device,
            self.threads,
            self.retry,
            self.executor,
            self.trackers,
        )

    def _found(self, grid: Grid, workspace: Workspace) -> list[Trial]:
        keys = set(self.keys)
        return [trial for trial in identify(grid, workspace) if trial and trial.key in keys]


def main() -> None:
    """Do the job on stdin."""
    with stopping.listening():
        job = Job.model_validate_json(sys.stdin.buffer.readline())
        threading.Thread(target=_end_with_stdin, daemon=True).start()
        voice = _Voice()
        logging.getLogger("bench").addHandler(voice)
        progress.install(voice if job.draws else None)
        _import_torch()
        try:
            task = job.task()
            run_trials(task, Inputs(task.grid, task.workspace), wait=False, watch=voice.watch)
        except DeviceLost:  # its trial has a record, and other processes can use the device
            sys.exit(WITHOUT_DEVICE)
        except InputsChanged:  # the others have run; who waits finds the same, and says so
            pass
        except BenchError as error:
            voice.say(error=str(error))


def _import_torch() -> None:
    """Import torch, and look for no garbage in what that makes, now or later: all of it stays.

    A fifth of what `import torch` takes is such looking, during it and when the process ends.
    """
    gc.disable()
    import torch  # noqa: F401

    gc.freeze()
    gc.enable()


class _Voice(logging.Handler):
    """Says what happens to whoever started this process: trials, log lines and loops."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(TaskFormatter())
        self._numbers = itertools.count()

    def say(self, **event: Any) -> None:
        try:
            print(f"{MARK}{json.dumps(event)}", flush=True)  # noqa: T201
        except OSError:  # nobody listens any more: the run is over, the trial has not failed
            raise Terminated(1) from None

    def watch(self, trial: Trial | None) -> None:
        self.say(trial=None if trial is None else trial.key)

    def emit(self, record: logging.LogRecord) -> None:
        self.say(log=[record.levelno, self.format(record)])

    @contextlib.contextmanager
    def loop(self, description: str, total: int | None, unit: str) -> Iterator[Advance]:
        """See `bench.progress.Display`."""
        number = next(self._numbers)
        self.say(loop={"number": number, "description": description, "total": total, "unit": unit})
        try:
            yield lambda steps: self.say(advance=[number, steps])
        finally:
            self.say(end=number)


def _end_with_stdin() -> None:
    """Wait until the process that started this one is gone, however it died; then end."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
