"""Running trials in this process, one after the other, beside others that do the same."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import progress
from bench.config.grid import Grid
from bench.errors import DeviceLost, Diverged, TrialFailure
from bench.execution.devices import free_memory, set_up, still_works
from bench.execution.environment import capture
from bench.execution.inputs import Inputs
from bench.execution.method import load_method
from bench.paths import Workspace
from bench.plan import Trial
from bench.records.record import Outcome, Record, failed, finished
from bench.records.store import ResultStore
from bench.registry import METHODS

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """Trials that need a record, and all that a process must know to run them.

    Attributes:
        trials: identified ones.
        grid: tells their data and teachers, which are there.
        store: where their records go.
        workspace: where data and teachers are.
        device: a torch device.
        threads: of each trial, for torch on the CPU.
        old: failures that were there when the trials were found to need a record, by key. What
            another process has written since then is no longer to be run.
    """

    trials: list[Trial]
    grid: Grid
    store: ResultStore
    workspace: Workspace
    device: str
    threads: int
    old: dict[str, Record]

    def is_settled(self, trial: Trial) -> bool:
        """Whether a trial is done, or has failed since it was found to need a record."""
        record = self.store.get(trial.key)
        return record is not None and (record.is_done or record != self.old.get(trial.key))


class Runner:
    """Runs the trials of a task that nobody else works on."""

    def __init__(self, task: Task, inputs: Inputs) -> None:
        """Gives torch the threads of the task."""
        self.task = task
        self.inputs = inputs
        self.trial: Trial | None = None
        set_up(task.device, task.threads)
        self.environment = capture(task.device, task.threads)

    def run_free(self) -> list[Trial]:
        """Run every trial that is neither settled nor claimed by another process, in one pass.

        Returns:
            The trials that are not settled at the end of it.

        Raises:
            DeviceLost: a trial, which has its record, left a device that fails all others.
            ConfigError: the results folder cannot be written to.
        """
        for trial in self.task.trials:
            if self.task.is_settled(trial):
                continue
            with self.task.store.claim(trial.key) as granted:
                if granted and not self.task.is_settled(trial):
                    self.trial = trial
                    with progress.task(trial.label):
                        self._run(trial)
        # A pass takes long: meanwhile others have settled what they had claimed.
        return [trial for trial in self.task.trials if not self.task.is_settled(trial)]

    def _run(self, trial: Trial) -> None:
        _logger.info(f"starts on {self.task.device}")
        started = time.perf_counter()
        outcome: Outcome | None = None
        curve: list[Mapping[str, float]] = []
        try:
            outcome = self._train(trial)
            record = finished(trial, outcome, self.environment)
            select = trial.training.select
            said = f"done, validation {select} {record.metrics['valid'][select]:.4f}"
        except Exception as error:
            outcome, curve = None, error.curve if isinstance(error, Diverged) else []
            status, text = _failure(error)
            record = failed(trial, status, text, self.environment)
            said = f"{status}: {error}{_place(error, METHODS.get(trial.method).path)}"
        self.task.store.write(record, outcome, curve)
        _logger.info(f"{said}, {time.perf_counter() - started:.0f} s")
        if not record.is_done and not still_works(self.task.device):
            raise DeviceLost(
                f"{trial.label}: after its error this process can no longer use the CUDA device "
                f"{self.task.device}. The same command, given again, goes on with what is left"
            )
        if record.status == "out-of-memory":
            free_memory()

    def _train(self, trial: Trial) -> Outcome:
        from bench.execution.trial import run_trial

        data = self.inputs.data((trial.dataset, trial.protocol))
        method = load_method(trial)
        return run_trial(trial, data, self.inputs.taught(trial), method, self.task.device)


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
