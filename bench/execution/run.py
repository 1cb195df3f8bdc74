"""From a grid to its records: what is missing runs, beside other processes on the same folder."""

from __future__ import annotations

import logging

from bench.config.grid import Grid
from bench.execution import reference_rows
from bench.execution.compatibility import check_teachers, drop_incompatible
from bench.execution.devices import Jobs, divide, resolve_device, set_up
from bench.execution.inputs import Inputs, identify
from bench.execution.runner import Task, run_trials
from bench.execution.workers import run_in_workers
from bench.paths import Workspace
from bench.plan import TrialSpec, references
from bench.records.record import Record
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
        The records of the trials, in their order.

    Raises:
        BenchError: something is wrong with the request, its data or its teachers, and no trial
            ran; or the results folder cannot be written to any more.
    """
    # What a trial would fail of is raised before data and teachers are made, which may take hours.
    grid = runnable(grid, store, workspace, device=device, retry_failed=retry_failed)
    inputs = Inputs(grid, workspace)
    if missing_trials(grid, store, workspace, retry_failed=retry_failed):
        store.check_writable()

    inputs.prepare_data()

    # Data of another source or configuration than before make other trials.
    missing = missing_trials(grid, store, workspace, retry_failed=retry_failed)
    # A teacher that exists but was built with other options is rejected even if all trials are
    # done: their records do not answer the question.
    overridden = [spec for spec in grid.trials if grid.is_overridden(spec.teacher_name)]
    if missing or overridden:
        device, _ = set_up(device, threads)
        inputs.build_teachers([spec.teacher_name for spec in [*missing, *overridden]], device)

    trials = [trial for trial in identify(grid, workspace) if trial is not None]
    found = {trial.key: store.get(trial.key) for trial in trials}
    left = [trial for trial in trials if _is_missing(found[trial.key], retry_failed)]
    check_teachers(left, inputs)
    reference_rows.write_missing(references(trials), store, inputs)

    if left:
        at_once, share = divide(jobs, threads)
        failures = {key: record for key, record in found.items() if record and not record.is_done}
        task = Task(left, grid, store, workspace, device, share, failures)
        if min(at_once, len(left)) > 1:
            inputs.release()
            run_in_workers(task, min(at_once, len(left)))
        run_trials(task, inputs)
    return [record for trial in trials if (record := store.get(trial.key)) is not None]


def runnable(
    grid: Grid,
    store: ResultStore,
    workspace: Workspace,
    *,
    device: str = "auto",
    retry_failed: bool = False,
) -> Grid:
    """The grid without what cannot be; a finished grid as it is (which needs no torch).

    What is left out, and what the selection does not do, is logged.

    Raises:
        ConfigError: nothing of it can be, a setting is wrong, or there is no such device.
    """
    for note in grid.notes:
        _logger.info(note)
    missing = missing_trials(grid, store, workspace, retry_failed=retry_failed)
    if not missing:
        return grid
    return drop_incompatible(grid, missing, resolve_device(device), workspace)


def missing_trials(
    grid: Grid, store: ResultStore, workspace: Workspace, *, retry_failed: bool = False
) -> list[TrialSpec]:
    """What has to run: no record is there, or a failure that is to be run again."""
    trials = zip(grid.trials, identify(grid, workspace), strict=True)
    return [
        spec
        for spec, trial in trials
        if trial is None or _is_missing(store.get(trial.key), retry_failed)
    ]


def _is_missing(record: Record | None, retry_failed: bool) -> bool:
    return record is None or (retry_failed and not record.is_done)
