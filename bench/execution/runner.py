"""Running trials in this process, one after the other, beside others that do the same."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import progress
from bench.config.grid import Grid
from bench.errors import (
    DeviceLost,
    Diverged,
    InputsChanged,
    KnowledgeWritten,
    NotWritten,
    TrialFailure,
    said,
)
from bench.execution import stopping
from bench.execution.devices import LOCAL, free_memory, set_up, still_works
from bench.execution.environment import capture
from bench.execution.inputs import Inputs
from bench.execution.interruptions import Interrupts, interruptions
from bench.paths import Workspace
from bench.plan import Trial, derive_seed
from bench.records.record import Outcome, Retry, failed, finished
from bench.records.store import ResultStore
from bench.registry import METHODS
from bench.trackers.interface import track

if TYPE_CHECKING:
    from bench.execution.states import TrialState

_logger = logging.getLogger(__name__)


POLL_SECONDS = 1.0

MAX_TEXT = 20_000
"""Characters that a record keeps of what a method raised."""

Watch = Callable[[Trial | None], object]
"""Called with a trial when it begins, and with None when it has a record."""


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
        retry: which of the trials that failed run again.
        executor: what started the process that runs them, for their records.
        trackers: names of those that are shown each trial.
    """

    trials: list[Trial]
    grid: Grid
    store: ResultStore
    workspace: Workspace
    device: str
    threads: int
    retry: Retry
    executor: str = LOCAL
    trackers: tuple[str, ...] = ()

    def is_complete(self, trial: Trial) -> bool:
        """Whether a trial has a record, and not one that is to be replaced."""
        record = self.store.get(trial.key)
        return record is not None and not record.is_to_be_retried(self.retry)

    def incomplete(self) -> list[Trial]:
        return [trial for trial in self.trials if not self.is_complete(trial)]


def run_trials(
    task: Task,
    inputs: Inputs,
    *,
    wait: bool = True,
    watch: Watch = lambda trial: None,
    allows: Callable[[Trial], bool] = lambda trial: True,
) -> None:
    """Run every trial that is neither complete nor claimed by another process.

    Args:
        task: what to run; torch is given its threads.
        inputs: the data and teachers of the task.
        wait: return when every trial has its record, those that other processes run included;
            else when a look at all of them has found none that nobody runs.
        watch: called with a trial when it begins, and with None when it has a record.
        allows: says whether a trial may start, now.

    Raises:
        Stopped: this process was told to end.
        InputsChanged: data or a teacher are not those that trials were planned for; the others
            have run, and these have no record.
        DeviceLost: a trial, which has its record, left a device that fails all others.
        ConfigError: the results folder cannot be written to.
    """
    device, _ = set_up(task.device, task.threads)
    task = replace(task, device=device)
    environment = capture(device, task.threads, task.executor)
    waiting, refused = False, dict[str, InputsChanged]()
    with interruptions() as interrupts:
        while left := [trial for trial in task.incomplete() if trial.key not in refused]:
            idle = True
            for trial in left:
                stopping.check()
                if not allows(trial):
                    continue
                with task.store.claim(trial.key) as granted:
                    if not granted or task.is_complete(trial):
                        continue
                    idle = False
                    watch(trial)
                    try:
                        _run_and_record(trial, task, inputs, environment, interrupts)
                    except InputsChanged as error:
                        refused[trial.key] = error
                    watch(None)
            if not wait:
                if idle:
                    break
                continue  # meanwhile others may have died
            # A pass takes long: meanwhile others have completed what they had claimed.
            if left := [trial for trial in task.incomplete() if trial.key not in refused]:
                if not waiting:
                    who = task.store.claimed_by(left[0].key)
                    _logger.info(f"waiting for {len(left)} trials that another process{who} runs")
                waiting = True
                time.sleep(POLL_SECONDS)
    if refused:
        first = next(iter(refused.values()))
        raise InputsChanged(f"{len(refused)} trials did not run and have no record: {first}")


def _run_and_record(
    trial: Trial,
    task: Task,
    inputs: Inputs,
    environment: dict[str, Any],
    interrupts: Interrupts,
) -> None:
    """Run a trial, and write the record of its outcome or of its failure, whatever that is.

    Args:
        trial: what to run.
        task: what it belongs to.
        inputs: the data and teachers of the task.
        environment: for the record.
        interrupts: what ends the process, and is no failure of the trial.

    Raises:
        InputsChanged: it cannot run, and has no record.
        DeviceLost: its failure, which is recorded, left a device that fails other trials too.
        ConfigError: the record cannot be written.
    """
    from bench.execution.states import TrialState

    started = time.perf_counter()
    with progress.task(trial.label):
        _logger.info(f"starts on {task.device}")
        state = TrialState(task.store, trial.key, environment)
        curve: Sequence[Mapping[str, Any]] = []
        try:
            outcome = _outcome(trial, task, inputs, state)
            record = finished(trial, outcome, environment)
            task.store.write(record, outcome)
            curve = outcome.curve
            select = trial.training.select
            message = f"done, validation {select} {record.metrics_of('valid')[select]:.4f}"
        except interrupts:
            raise
        except (InputsChanged, NotWritten):
            raise
        except BaseException as error:  # whatever code of anybody's raises
            if isinstance(error, KnowledgeWritten):
                inputs.forget_knowledge()
            status, text = _failure(error)
            record = failed(trial, status, text, environment)
            curve = error.curve if isinstance(error, Diverged) else []
            task.store.write(record, curve=curve)
            message = f"{status}: {said(error)}{_place(error, METHODS.get(trial.method).path)}"
        state.remove()
        track(task.trackers, task.store.folder, record, curve)
        _logger.info(f"{message}, {time.perf_counter() - started:.0f} s")
    if not record.is_done and not still_works(task.device):
        raise DeviceLost(
            f"{trial.label}: after its error this process can no longer use the CUDA device "
            f"{task.device}. The same command, given again, goes on with what is left"
        )
    if record.status == "out-of-memory":
        free_memory()


def _outcome(trial: Trial, task: Task, inputs: Inputs, state: TrialState) -> Outcome:
    """What a trial comes to, in a process and with knowledge that no other trial has changed."""
    from bench.execution.hygiene import clean_process
    from bench.execution.trial import run_trial

    data, knowledge = inputs.of(trial)
    method = METHODS.load(trial.method)
    with clean_process(task.threads, derive_seed(trial, "process")) as notes:
        outcome = run_trial(trial, data, knowledge, method, task.device, state)
    return replace(outcome, notes=[*outcome.notes, *notes])


def _place(error: BaseException, method: Path) -> str:
    """Where in the method's file an error came about, if it passed through it."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if Path(frame.filename) == method]
    return f" ({method.name}:{inside[-1].lineno}, in {inside[-1].name})" if inside else ""


def _failure(error: BaseException) -> tuple[str, str]:
    """What a record says of a trial that raised."""
    text = f"{type(error).__name__}: {said(error)}"[:MAX_TEXT]
    if isinstance(error, TrialFailure):
        return error.status, text
    # PyTorch says that the host is out of memory in a plain RuntimeError.
    if isinstance(error, MemoryError) or "can't allocate memory" in text:
        return "out-of-memory", text
    return "error", "".join(traceback.format_exception(error))[-MAX_TEXT:]
