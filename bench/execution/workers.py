"""Trials in several processes at once.

A worker is one more process on the results folder (see `bench.execution.worker`). The process that
started it passes on what it says, and records what became of its trial if it dies.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from bench import progress
from bench.errors import BenchError
from bench.execution.environment import capture
from bench.execution.runner import Task
from bench.execution.worker import MARK, WITHOUT_DEVICE, Job
from bench.paths import SHIPPED
from bench.plan import Trial
from bench.progress import Advance
from bench.records.record import failed

_logger = logging.getLogger(__name__)

GRACE_SECONDS = 10.0
"""How long a worker that is told to end may take to let go of its trial."""


def run_in_workers(task: Task, jobs: int, watch: Callable[[Trial | None], object]) -> None:
    """Run trials in `jobs` processes until no worker finds one that nobody works on.

    A trial whose worker dies is recorded as `lost-worker`. The worker is not replaced: the others
    go on, and where memory is short, fewer at once is what helps. So it is with a worker that an
    error of its trial leaves without a device. No worker outlives this process.

    Args:
        task: what to run.
        jobs: number of processes.
        watch: called with a trial when a worker begins it, and with None when it has a record.

    Raises:
        BenchError: no trial can be run any more; the results folder cannot be written to.
    """
    events: _Events = queue.SimpleQueue()
    workers: list[_Worker] = []
    try:
        for _ in range(jobs):
            workers.append(_Worker(task, watch, events))
        working = len(workers)
        while working:
            worker, event = events.get()
            if event is None:
                working -= 1
                worker.ended()
            else:
                worker.tell(event)
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.close()


class _Worker:
    """A worker as the process that started it sees it."""

    def __init__(self, task: Task, watch: Callable[[Trial | None], object], events: _Events):
        self.task = task
        self.watch = watch
        self.trial: Trial | None = None
        self.bars: dict[int, tuple[contextlib.ExitStack, Advance]] = {}
        paths = [str(SHIPPED), os.environ.get("PYTHONPATH", "")]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.execution.worker"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # a terminal sends Ctrl-C to its own; this process answers it
        )
        threading.Thread(target=self._listen, args=(events,), daemon=True).start()
        with contextlib.suppress(OSError):  # it ended, which is found out below
            self._stdin.write(f"{Job.of(task).model_dump_json()}\n")
            self._stdin.flush()  # and stays open: its end tells the worker that nobody waits

    @property
    def _stdin(self) -> Any:
        return self.process.stdin

    def _listen(self, events: _Events) -> None:
        assert self.process.stdout is not None  # noqa: S101 - it is a pipe
        for line in self.process.stdout:
            text, mark, event = line.rstrip("\n").partition(MARK)
            if text:  # of a library, or of a method that prints
                events.put((self, {"log": [logging.INFO, text]}))
            if mark:
                with contextlib.suppress(ValueError):  # it ended in the middle of a line
                    events.put((self, json.loads(event)))
        events.put((self, None))

    def tell(self, event: dict[str, Any]) -> None:
        """Pass on what it says."""
        ((kind, content),) = event.items()
        getattr(self, f"_on_{kind}")(content)

    def _on_log(self, content: tuple[int, str]) -> None:
        _logger.log(*content)

    def _on_error(self, content: str) -> None:
        raise BenchError(content)

    def _on_trial(self, key: str | None) -> None:
        self.trial = next((trial for trial in self.task.trials if trial.key == key), None)
        self.watch(self.trial)

    def _on_loop(self, content: dict[str, Any]) -> None:
        stack = contextlib.ExitStack()
        number = content.pop("number")
        self.bars[number] = stack, stack.enter_context(progress.track(**content))

    def _on_advance(self, content: tuple[int, int]) -> None:
        number, steps = content
        self.bars[number][1](steps)

    def _on_end(self, number: int) -> None:
        self.bars.pop(number)[0].close()

    def ended(self) -> None:
        """Record the trial of a worker that died in the middle of it."""
        for number in list(self.bars):
            self._on_end(number)
        code = self.process.wait()
        if code == 0:
            return
        why = f"its worker ended with {signal.Signals(-code).name if code < 0 else code}"
        if code == -signal.SIGKILL:
            why += ", as when memory does not suffice for so many --jobs"
        if code == WITHOUT_DEVICE:
            why = "it can no longer use its CUDA device"
        trial, task = self.trial, self.task
        if trial is None or task.is_complete(trial):
            _logger.info(f"a worker is lost, no trial with it: {why}")
            return
        _logger.info(f"{trial.label}: lost-worker: {why}")
        self.watch(None)
        with task.store.claim(trial.key) as granted:
            # Another worker may have been faster, and tries the trial again.
            if granted and not task.is_complete(trial):
                environment = capture(task.device, task.threads)
                task.store.write(failed(trial, "lost-worker", why, environment))

    def close(self) -> None:
        """Return when the process is gone."""
        try:
            self.process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for number in list(self.bars):
            self._on_end(number)
        with contextlib.suppress(OSError):
            self._stdin.close()


_Events = queue.SimpleQueue[tuple[_Worker, dict[str, Any] | None]]
