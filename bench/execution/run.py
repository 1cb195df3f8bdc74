"""From a grid to its records: what is missing runs, beside other processes on the same folder."""

from __future__ import annotations

import logging

from bench.config.grid import Grid
from bench.execution import references
from bench.execution.compatibility import check_teachers, drop_incompatible
from bench.execution.devices import Jobs, divide, resolve_device, set_up
from bench.execution.inputs import Inputs, identify
from bench.execution.runner import Task, run_trials
from bench.execution.workers import run_in_workers
from bench.paths import Workspace
from bench.plan import Trial, TrialSpec
from bench.progress import track
from bench.records.record import Record, now
from bench.records.store import ResultStore

_logger = logging.getLogger(__name__)


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
        The records of the trials, in their order, and those of the teachers' own rankings that
        are asked for.

    Raises:
        BenchError: something is wrong with the request, its data or its teachers, and no trial
            ran; or the results folder cannot be written to any more.
    """
    retry_before = now() if retry_failed else None
    store.sweep_states()
    # What a trial would fail of is raised before data and teachers are made, which may take hours.
    grid = runnable(grid, store, workspace, device=device, retry_before=retry_before)
    inputs = Inputs(grid, workspace)
    if grid.references or missing_trials(grid, store, workspace, retry_before=retry_before):
        store.check_writable()

    inputs.prepare_data()

    # Data of another source or configuration than before make other trials.
    missing = missing_trials(grid, store, workspace, retry_before=retry_before)
    # A teacher that exists but was built with other options is rejected even if all trials are
    # done: their records do not answer the question.
    overridden = [spec for spec in grid.trials if grid.is_overridden(spec.teacher_name)]
    if missing or overridden or grid.references:
        device, _ = set_up(device, threads)
        wanted = [spec.teacher_name for spec in [*missing, *overridden]]
        inputs.build_teachers([*wanted, *grid.references], device)

    trials = [trial for trial in identify(grid, workspace) if trial is not None]
    missing_now = [trial for trial in trials if _is_missing(trial, store, retry_before)]
    check_teachers(missing_now, inputs)
    asked = references.of_teachers(grid.references, inputs)
    references.write_missing([*references.of_trials(trials), *asked], store, inputs)

    if missing_now:
        at_once, share = divide(jobs, threads)
        task = Task(missing_now, grid, store, workspace, device, share, retry_before)
        with track("trials", len(missing_now), logged=False) as advance:

            def watch(trial: Trial | None) -> None:
                advance(int(trial is None))

            if min(at_once, len(missing_now)) > 1:
                inputs.release()
                run_in_workers(task, min(at_once, len(missing_now)), watch)
            run_trials(task, inputs, watch=watch)
    keys = [*(trial.key for trial in trials), *(reference.key for reference in asked)]
    return [record for key in keys if (record := store.get(key)) is not None]


def runnable(
    grid: Grid,
    store: ResultStore,
    workspace: Workspace,
    *,
    device: str = "auto",
    retry_before: str | None = None,
) -> Grid:
    """The grid without what cannot be; a finished grid as it is (which needs no torch).

    What is left out, and what the selection does not do, is logged.

    Raises:
        ConfigError: nothing of it can be, a setting is wrong, or there is no such device.
    """
    for note in grid.notes:
        _logger.info(note)
    missing = missing_trials(grid, store, workspace, retry_before=retry_before)
    if not missing:
        return grid
    return drop_incompatible(grid, missing, resolve_device(device), workspace)


def missing_trials(
    grid: Grid, store: ResultStore, workspace: Workspace, *, retry_before: str | None = None
) -> list[TrialSpec]:
    """What has to run: no record is there, or a failure from before `retry_before`."""
    trials = zip(grid.trials, identify(grid, workspace), strict=True)
    return [spec for spec, trial in trials if _is_missing(trial, store, retry_before)]


def _is_missing(trial: Trial | None, store: ResultStore, retry_before: str | None) -> bool:
    if trial is None:
        return True
    record = store.get(trial.key)
    return record is None or record.is_to_be_retried(retry_before)
