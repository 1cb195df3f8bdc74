"""From a grid to its records: what is missing runs, beside other processes on the same folder."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.config.grid import Grid
from bench.errors import ConfigError, Unfinished
from bench.execution import references, sums
from bench.execution.compatibility import check_teachers, drop_incompatible
from bench.execution.devices import LOCAL, Jobs, divide, resolve_device, set_up
from bench.execution.inputs import Inputs, identify
from bench.execution.runner import POLL_SECONDS, Task, Watch, run_trials
from bench.execution.until import Until
from bench.execution.workers import run_apart, run_in_workers
from bench.executors.interface import hire
from bench.paths import Workspace
from bench.plan import Reference, Trial, TrialSpec
from bench.progress import track
from bench.records.record import Record, Retry
from bench.records.store import ResultStore
from bench.records.underway import announce
from bench.registry import METHODS
from bench.trackers.interface import check as check_trackers

_logger = logging.getLogger(__name__)


def run_grid(
    grid: Grid,
    store: ResultStore,
    workspace: Workspace,
    *,
    device: str = "auto",
    threads: int | None = None,
    jobs: Jobs | None = None,
    retry_failed: bool = False,
    executor: str = LOCAL,
    executor_set: Mapping[str, Any] | None = None,
    isolate: bool = False,
    trackers: Sequence[str] = (),
) -> list[Record]:
    """Make every trial of a grid have a record; trains only what has none.

    Data and teachers are made by this process, with all the threads it may use, before trials are
    divided among workers.

    Args:
        grid: what to run.
        store: where records are and go.
        workspace: where data and teachers are and go.
        device: `auto` or a device's name; all trials share it.
        threads: for torch on the CPU, of each trial; None is an equal share of the cores, or 1
            where other machines train.
        jobs: trials at once, each in a process of its own if there are several (see `divide`); by
            default 1, or one for each GPU of `executor_set`.
        retry_failed: run failed trials again.
        executor: what starts the processes, by the name that it is registered under.
        executor_set: its options.
        isolate: run each trial of a method that did not come with the suite in a process of its
            own, as many at a time as `jobs` says; this process does not import it.
        trackers: names of those that are shown each trial once it has its record.

    Returns:
        The records of the trials, in their order, and those of the teachers' own rankings that
        are asked for.

    Raises:
        Unfinished: workers elsewhere have ended before all trials had a record.
        BenchError: something is wrong with the request, its data or its teachers, and no trial
            ran; or the results folder cannot be written to any more.
    """
    check_trackers(trackers)
    hired = hire(executor, executor_set or {})
    if isolate and not hired.is_here:
        raise ConfigError(
            f"--isolate: not with --executor {executor}, whose workers run many trials each: "
            "leave out one of the two"
        )
    retry = Retry(failed=retry_failed)
    with METHODS.isolated() if isolate else contextlib.nullcontext():
        ready = _prepared(
            grid, store, workspace, device, threads, retry, elsewhere=not hired.is_here
        )
        if not ready.missing:
            return ready.concluded()
        at_once, share = hired.divide(jobs, threads)
        everything = ready.task(share, executor, hired.device(ready.device, device), trackers)
        apart = [one for one in ready.missing if not METHODS.may_import(one.method)]
        task = replace(everything, trials=[one for one in ready.missing if one not in apart])
        together = min(at_once, len(task.trials))
        with _watched(ready.missing) as watch:
            losses: list[str] = []
            if together > 1 or (hired.needs_workers and task.trials):
                ready.inputs.release()
                losses = run_in_workers(task, hired, together, watch)
            if hired.is_here:
                alone = replace(everything, trials=apart)
                run_apart(alone, ready.inputs, hired, at_once, watch)
                run_trials(task, ready.inputs, watch=watch)
            else:
                _wait_for_others(task, losses)
        return ready.concluded()


def work_on_grid(
    grid: Grid,
    store: ResultStore,
    workspace: Workspace,
    *,
    device: str = "auto",
    threads: int | None = None,
    retry_failed: bool = False,
    seconds: float | None = None,
    trackers: Sequence[str] = (),
    watch: Watch = lambda trial: None,
) -> None:
    """Be one worker on a grid: run what nobody else runs, and return when nothing of it is left.

    Data and teachers that are missing are made first, by the first worker that comes to them.

    Args:
        grid: what to run.
        store: where records are and go.
        workspace: where data and teachers are and go.
        device: `auto` or a device's name.
        threads: for torch on the CPU; None is all cores.
        retry_failed: run trials again that failed before this worker began.
        seconds: start no trial that is not expected to end within so many.
        trackers: as `run_grid` takes them.
        watch: called with a trial when it begins, and with None when it has a record.

    Raises:
        Stopped: this process was told to end, or its time is over in the middle of a trial.
        BenchError: as `run_grid`.
    """
    check_trackers(trackers)
    until = None if seconds is None else Until(seconds, store)
    ready = _prepared(grid, store, workspace, device, threads, Retry(failed=retry_failed))
    if ready.missing:
        task = ready.task(divide(1, threads)[1], "work", ready.device, trackers)
        allows = (lambda trial: True) if until is None else until.within(ready.trials)
        run_trials(task, ready.inputs, wait=False, watch=watch, allows=allows)


@dataclass(frozen=True)
class _Ready:
    """A grid whose data and teachers are there, checked, and what of it has no record."""

    grid: Grid
    store: ResultStore
    inputs: Inputs
    trials: list[Trial]
    references: list[Reference]
    missing: list[Trial]
    device: str
    recorded: _Recorded

    def task(self, threads: int, executor: str, device: str, trackers: Sequence[str]) -> Task:
        return Task(
            self.missing,
            self.grid,
            self.store,
            self.inputs.workspace,
            device,
            threads,
            self.recorded.retry,
            executor,
            tuple(trackers),
        )

    def concluded(self) -> list[Record]:
        """The records of the grid, once what can be made of those of its trials has one too."""
        sums.write_missing(self.trials, self.store, self.inputs, self.recorded.get)
        subjects: list[Trial | Reference] = [*self.trials, *self.references]
        found = (self.recorded.get(subject.key) for subject in subjects)
        return [record for record in found if record is not None]


def _prepared(
    grid: Grid,
    store: ResultStore,
    workspace: Workspace,
    device: str,
    threads: int | None,
    retry: Retry,
    *,
    elsewhere: bool = False,
) -> _Ready:
    """Make data and teachers, record the references, and find what has to run.

    Args:
        grid: what to run.
        store: where records are and go.
        workspace: where data and teachers are and go.
        device: as the user named it.
        threads: of torch, for teachers.
        retry: which failures run again.
        elsewhere: other machines train, which may have other devices.
    """
    store.sweep()
    # What a trial would fail of is raised before data and teachers are made, which may take hours.
    recorded = _Recorded(store, retry)
    grid = _runnable(grid, recorded, workspace, device=device, elsewhere=elsewhere)
    device = "auto" if elsewhere else device
    inputs = Inputs(grid, workspace)
    if grid.references or recorded.missing(grid, workspace):
        store.check_writable()

    inputs.prepare_data()

    # Data of another source or configuration than before make other trials.
    missing = recorded.missing(grid, workspace)
    # A teacher that exists but was built with other options is rejected even if all trials are
    # done: their records do not answer the question.
    overridden = [spec for spec in grid.trials if grid.is_overridden(spec.teacher_name)]
    if missing or overridden or grid.references:
        device, _ = set_up(device, threads)
        wanted = [spec.teacher_name for spec in [*missing, *overridden]]
        inputs.build_teachers([*wanted, *grid.references], device)

    trials = [trial for trial in identify(grid, workspace) if trial is not None]
    missing_now = [trial for trial in trials if recorded.is_missing(trial)]
    check_teachers(missing_now, inputs)
    asked = references.of_teachers(grid.references, inputs)
    references.write_missing([*references.of_trials(trials), *asked], store, inputs)
    if missing_now:
        announce(store, trials)
    return _Ready(grid, store, inputs, trials, asked, missing_now, device, recorded)


class _Recorded:
    """The records of a grid. A success is read once: nothing takes it away again."""

    def __init__(self, store: ResultStore, retry: Retry) -> None:
        self._store, self._retry = store, retry
        self._done: dict[str, Record] = {}
        self._first: dict[str, Record | None] = {}

    @property
    def retry(self) -> Retry:
        """What runs again of the failures that were there at the first look."""
        return self._retry.knowing(self._first.values())

    def get(self, key: str) -> Record | None:
        """The record called `key`, or None."""
        record = self._done.get(key) or self._store.get(key)
        if record is not None and record.is_done:
            self._done[key] = record
        return record

    def is_missing(self, trial: Trial | None) -> bool:
        """Whether it has to run: no record is there, or a failure that runs again."""
        if trial is None:
            return True
        key = trial.key
        record = self.get(key)
        first = self._first.setdefault(key, record)
        if record is None:
            return True
        return first is not None and record.created == first.created and self._retry.wants(record)

    def missing(self, grid: Grid, workspace: Workspace) -> list[TrialSpec]:
        """What of a grid has to run."""
        trials = zip(grid.trials, identify(grid, workspace), strict=True)
        return [spec for spec, trial in trials if self.is_missing(trial)]


@contextlib.contextmanager
def _watched(trials: list[Trial]) -> Iterator[Watch]:
    """Count trials that get a record."""
    with track("trials", len(trials), logged=False) as advance:
        yield lambda trial: advance(int(trial is None))


def _wait_for_others(task: Task, losses: list[str]) -> None:
    """Wait for trials that workers of another run are at, which may share the folder.

    Raises:
        Unfinished: a trial is left that nobody is at.
    """
    while left := task.incomplete():
        for trial in left:
            with task.store.claim(trial.key) as granted:
                if granted and not task.is_complete(trial):
                    lost = "".join(f"\n  - {loss}" for loss in losses)
                    raise Unfinished(
                        f"{len(left)} of {len(task.trials)} trials have no record yet, since their "
                        f"workers ended before. The same command goes on with them{lost}"
                    )
        time.sleep(POLL_SECONDS)


def runnable(grid: Grid, store: ResultStore, workspace: Workspace, *, device: str = "auto") -> Grid:
    """The grid without what cannot be; a finished grid as it is (which needs no torch).

    What is left out, and what the selection does not do, is logged.

    Raises:
        ConfigError: nothing of it can be, a setting is wrong, or there is no such device here.
    """
    return _runnable(grid, _Recorded(store, Retry()), workspace, device=device)


def _runnable(
    grid: Grid,
    recorded: _Recorded,
    workspace: Workspace,
    *,
    device: str,
    elsewhere: bool = False,
) -> Grid:
    for note in grid.notes:
        _logger.info(note)
    missing = recorded.missing(grid, workspace)
    if not missing:
        return grid
    if not elsewhere:
        device = resolve_device(device)
    elif device == "auto":
        device = "cuda"  # what machines elsewhere have is not known here
    return drop_incompatible(grid, missing, device, workspace)
