"""Run what is missing of a grid, beside any other process that works on the same folder."""

from __future__ import annotations

import logging
import time

from bench.config.grid import Grid
from bench.execution import preflight, reference_rows
from bench.execution.devices import Jobs, divide, set_up
from bench.execution.fitting import without_misfits
from bench.execution.inputs import Inputs, identify
from bench.execution.runner import Runner, Task
from bench.execution.workers import run_in_workers
from bench.paths import Workspace
from bench.plan import Trial, references
from bench.records.record import Record
from bench.records.store import ResultStore

_logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0


def run_grid(
    grid: Grid,
    store: ResultStore,
    workspace: Workspace,
    *,
    device: str = "auto",
    threads: int | None = None,
    jobs: Jobs = 1,
    retry_failed: bool = False,
) -> list[Record]:
    """Make every trial of a grid have a record; trains only what has none.

    Data and teachers are made by this process, with all the threads it may use, before trials are
    divided among workers.

    Args:
        grid: what to run.
        store: where records are and go.
        workspace: where data and teachers are and go.
        device: `auto` or a device's name; all trials share it.
        threads: for torch on the CPU, of each trial; None is an equal share of the cores.
        jobs: trials at once, each in a process of its own if there are several (see `divide`).
        retry_failed: run failed trials again.

    Returns:
        The records of the trials, in their order.

    Raises:
        BenchError: something is wrong with the request, its data or its teachers, and no trial
            ran; or the results folder cannot be written to any more.
    """
    grid = runnable(grid, store, workspace, retry_failed=retry_failed)
    inputs = Inputs(grid, workspace)

    def look() -> tuple[list[Trial], list[Trial], dict[str, Record]]:
        """The trials as far as their data and teachers are there, and those that have to run.

        With them the failures that are there at this moment, by key. What can be refused at this
        point is refused.
        """
        nonlocal device
        trials = identify(grid, workspace)
        found = [_record_of(trial, store) for trial in trials]
        failures = {record.key: record for record in found if record and not record.is_done}
        missing = [
            trial
            for trial, record in zip(trials, found, strict=True)
            if _has_to_run(record, retry_failed)
        ]
        if missing:
            store.check_writable()
            preflight.check_settings(missing)
            device, _ = set_up(device, threads)
            preflight.check_device(missing, device)
        return trials, missing, failures

    look()  # before data and teachers are made, which may take long
    # Data of another source or configuration than now are made anew, and their trials are new.
    inputs.ensure_data()
    trials, missing, _ = look()
    # A teacher that exists but was built with other options is refused even if all trials are
    # done: their records do not answer the question.
    inputs.ensure_teachers([*missing, *filter(_changes_teacher, trials)], device)
    trials, missing, failures = look()
    preflight.check_teachers(missing, inputs)
    reference_rows.write_missing(references(trials), store, inputs)
    if missing:
        at_once, share = divide(jobs, threads)
        task = Task(missing, grid, store, workspace, device, share, failures)
        _run(task, inputs, at_once)
    return [record for trial in trials if (record := store.get(trial.key)) is not None]


def runnable(
    grid: Grid,
    store: ResultStore,
    workspace: Workspace,
    *,
    retry_failed: bool = False,
) -> Grid:
    """The grid without what cannot be; a finished grid as it is (which needs no torch).

    What is left out, and what the selection does not do, is told.

    Raises:
        ConfigError: nothing of it can be.
    """
    for note in grid.notes:
        _logger.info(note)
    if any(is_missing(trial, store, retry_failed) for trial in identify(grid, workspace)):
        return without_misfits(grid, workspace)
    return grid


def is_missing(trial: Trial, store: ResultStore, retry_failed: bool) -> bool:
    """Whether a trial has to run: it has no record, or a failure that is to be run again."""
    return _has_to_run(_record_of(trial, store), retry_failed)


def _record_of(trial: Trial, store: ResultStore) -> Record | None:
    return store.get(trial.key) if trial.is_identified else None


def _has_to_run(record: Record | None, retry_failed: bool) -> bool:
    return record is None or (retry_failed and not record.is_done)


def _changes_teacher(trial: Trial) -> bool:
    return any(key.startswith("teacher.") for key in trial.overrides)


def _run(task: Task, inputs: Inputs, jobs: int) -> None:
    """Return when every trial has its record; those that other processes hold are waited for."""
    jobs = min(jobs, len(task.trials))
    if jobs > 1:
        inputs.release()
        run_in_workers(task, jobs)
    # What is left is held by another run, or was left by workers that died.
    runner = Runner(task, inputs)
    said = False
    while left := runner.run_free():
        if not said:
            _logger.info(f"waiting for {len(left)} trials that another process runs")
            said = True
        time.sleep(POLL_SECONDS)
