"""Trials in several processes at once.

A worker is one more process on the results folder: it claims trials as any other run does, and
ends when nothing is left that nobody works on. This process only tells what workers say, and
what became of them.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path

from bench.errors import BenchError, DeviceLost
from bench.execution.environment import capture
from bench.execution.inputs import Inputs
from bench.execution.runner import Task, run_trials
from bench.plan import Trial
from bench.progress import TaskFormatter
from bench.records.record import failed
from bench.registry import METHODS

_logger = logging.getLogger(__name__)

WITHOUT_DEVICE = 3
"""What a worker exits with that can no longer use its device; the others can."""

GRACE_SECONDS = 10.0
"""How long a worker that is told to end may take to let go of its trial."""


def run_in_workers(task: Task, jobs: int) -> None:
    """Run trials in `jobs` processes until no worker finds one that nobody works on.

    A trial whose worker dies is recorded as `lost-worker`. The worker is not replaced: the others
    go on, and where memory is short, fewer at once is what helps. So it is with a worker that an
    error of its trial leaves without a device. No worker outlives this process.

    Raises:
        BenchError: no trial can be run any more; the results folder cannot be written to.
    """
    workers: list[_Worker] = []
    try:
        with _deaf_to_interrupts():
            for _ in range(jobs):
                workers.append(_Worker(task))
        working = list(workers)
        while working:
            ready = wait([worker.pipe for worker in working])
            for worker in [worker for worker in working if worker.pipe in ready]:
                if not worker.tell():
                    working.remove(worker)
                    worker.bury()
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.join(GRACE_SECONDS)
            worker.process.kill()


class _Worker:
    """A worker as the process that started it sees it."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.trial: Trial | None = None
        # A forked copy of a process that has used torch's threads or a GPU would not work.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe(duplex=False)
        plugins = [entry.path for entry in METHODS if entry.is_plugin]
        self.process = context.Process(target=_work, args=(task, plugins, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def tell(self) -> bool:
        """Pass on its next line; False if there will be none any more."""
        try:
            self.trial, line = self.pipe.recv()
        except (EOFError, OSError):  # it ended, perhaps in the middle of a line
            return False
        if self.trial is None:
            raise BenchError(line)
        _logger.info(line)
        return True

    def bury(self) -> None:
        """Record the trial of a worker that died in the middle of it."""
        self.process.join()
        code = self.process.exitcode or 0
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
        with task.store.claim(trial.key) as granted:
            # Another worker may have been faster, and tries the trial again.
            if granted and not task.is_complete(trial):
                environment = capture(task.device, task.threads)
                task.store.write(failed(trial, "lost-worker", why, environment))


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started within never see Ctrl-C: a terminal sends it to all, one answers."""
    resource_tracker.ensure_running()  # else it is started within, and lifts the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(task: Task, plugins: list[Path], pipe: Connection) -> None:
    """What a worker does."""
    signal.signal(signal.SIGTERM, _unwind)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    sender = _Sender(pipe)
    logging.getLogger("bench").addHandler(sender)
    try:
        for path in plugins:
            METHODS.add_plugin(path)
        inputs = Inputs(task.grid, task.workspace)
        run_trials(task, inputs, wait=False, begin=sender.begin)
    except DeviceLost:  # its trial has a record, and other processes can use the device
        sys.exit(WITHOUT_DEVICE)
    except BenchError as error:
        sender.send(None, str(error))
    finally:
        # It ends anyway: nothing is to interrupt what runs at the end of a process.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


class _Sender(logging.Handler):
    """Sends a worker's log lines to the process that started it."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__()
        self.setFormatter(TaskFormatter())
        self.pipe = pipe
        self.trial: Trial | None = None

    def begin(self, trial: Trial) -> None:
        self.trial = trial

    def emit(self, record: logging.LogRecord) -> None:
        if self.trial is not None:
            self.send(self.trial, self.format(record))

    def send(self, trial: Trial | None, line: str) -> None:
        try:
            self.pipe.send((trial, line))
        except OSError:  # nobody listens any more: the run is over, the trial has not failed
            sys.exit(1)


def _unwind(*_: object) -> None:
    """End by an exception, once: claims are let go, temporary folders removed."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + signal.SIGTERM)


def _end_with_parent() -> None:
    """Wait until the process that started this one is gone, however it died; then end."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)
