"""Running trials in this process, one after the other, beside others that do the same."""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import progress
from bench.config.grid import Grid
from bench.errors import DeviceLost, Diverged, TrialFailure
from bench.execution.devices import free_memory, set_up, still_works
from bench.execution.environment import capture
from bench.execution.inputs import Inputs
from bench.paths import Workspace
from bench.plan import Trial
from bench.records.record import Outcome, failed, finished
from bench.records.store import ResultStore
from bench.registry import METHODS

_logger = logging.getLogger(__name__)


POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Task:
    """Trials that need a record, and all that a process must know to run them.

    Attributes:
        trials: what to run.
        grid: tells their data and teachers, which are there.
        store: where their records go.
        workspace: where data and teachers are.
        device: a torch device.
        threads: of each trial, for torch on the CPU.
        retry_before: run trials again that failed before this moment (see `bench.records.record.
            now`); None: none that failed.
    """

    trials: list[Trial]
    grid: Grid
    store: ResultStore
    workspace: Workspace
    device: str
    threads: int
    retry_before: str | None = None

    def is_complete(self, trial: Trial) -> bool:
        """Whether a trial has a record, and not one that is to be replaced."""
        record = self.store.get(trial.key)
        return record is not None and not record.is_to_be_retried(self.retry_before)

    def incomplete(self) -> list[Trial]:
        return [trial for trial in self.trials if not self.is_complete(trial)]


def run_trials(
    task: Task,
    inputs: Inputs,
    *,
    wait: bool = True,
    watch: Callable[[Trial | None], object] = lambda trial: None,
) -> None:
    """Run every trial that is neither complete nor claimed by another process.

    Args:
        task: what to run; torch is given its threads.
        inputs: the data and teachers of the task.
        wait: return when every trial has its record, those that other processes run included;
            else when there is none left that nobody runs.
        watch: called with a trial when it begins, and with None when it has a record.

    Raises:
        DeviceLost: a trial, which has its record, left a device that fails all others.
        ConfigError: the results folder cannot be written to.
    """
    from bench.execution.states import TrialState
    from bench.execution.trial import run_trial

    set_up(task.device, task.threads)
    environment = capture(task.device, task.threads)
    waiting = False
    while left := task.incomplete():
        for trial in left:
            with task.store.claim(trial.key) as granted:
                if not granted or task.is_complete(trial):
                    continue
                watch(trial)
                state = TrialState(task.store, trial.key, environment)
                with _recording(trial, task, environment) as attempt:
                    data, knowledge = inputs.data(trial.data_name), inputs.knowledge_for(trial)
                    method = METHODS.load(trial.method)
                    attempt.outcome = run_trial(trial, data, knowledge, method, task.device, state)
                state.remove()
                watch(None)
        if not wait:
            return
        # A pass takes long: meanwhile others have completed what they had claimed.
        if left := task.incomplete():
            if not waiting:
                _logger.info(f"waiting for {len(left)} trials that another process runs")
            waiting = True
            time.sleep(POLL_SECONDS)


@dataclass
class _Attempt:
    """A trial under way."""

    outcome: Outcome | None = None


@contextlib.contextmanager
def _recording(trial: Trial, task: Task, environment: dict[str, Any]) -> Iterator[_Attempt]:
    """Write the record of what happens within: the outcome that was set, or the failure raised.

    Raises:
        DeviceLost: the failure, which is recorded, left a device that fails other trials too.
    """
    attempt, started = _Attempt(), time.perf_counter()
    curve: list[Mapping[str, float]] = []
    with progress.task(trial.label):
        _logger.info(f"starts on {task.device}")
        try:
            yield attempt
            assert attempt.outcome is not None  # noqa: S101 - set within
            record = finished(trial, attempt.outcome, environment)
            select = trial.training.select
            message = f"done, validation {select} {record.metrics_of('valid')[select]:.4f}"
        except Exception as error:
            attempt.outcome, curve = None, error.curve if isinstance(error, Diverged) else []
            status, text = _failure(error)
            record = failed(trial, status, text, environment)
            message = f"{status}: {error}{_place(error, METHODS.get(trial.method).path)}"
        task.store.write(record, attempt.outcome, curve)
        _logger.info(f"{message}, {time.perf_counter() - started:.0f} s")
    if not record.is_done and not still_works(task.device):
        raise DeviceLost(
            f"{trial.label}: after its error this process can no longer use the CUDA device "
            f"{task.device}. The same command, given again, goes on with what is left"
        )
    if record.status == "out-of-memory":
        free_memory()


def _place(error: Exception, method: Path) -> str:
    """Where in the method's file an error came about, if it passed through it."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if Path(frame.filename) == method]
    return f" ({method.name}:{inside[-1].lineno}, in {inside[-1].name})" if inside else ""


def _failure(error: Exception) -> tuple[str, str]:
    """What a record says of a trial that raised."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, TrialFailure):
        return error.status, text
    # PyTorch says that the host is out of memory in a plain RuntimeError.
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "out-of-memory", text
    return "error", "".join(traceback.format_exception(error))
