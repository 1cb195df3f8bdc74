"""Run what is missing of a grid, beside any other process that works on the same folder."""

from __future__ import annotations

import gc
import time
import traceback

from bench.config.grid import Grid
from bench.errors import TrialFailure
from bench.execution import preflight, reference_rows
from bench.execution.environment import capture, set_up
from bench.execution.inputs import Inputs, Progress, identify
from bench.paths import Workspace
from bench.plan import Trial, references
from bench.results.record import Outcome, Record, failed, finished
from bench.results.store import ResultStore

POLL_SECONDS = 1.0


def run_grid(
    grid: Grid,
    store: ResultStore,
    workspace: Workspace,
    *,
    device: str = "auto",
    threads: int | None = None,
    retry_failed: bool = False,
    progress: Progress,
) -> list[Record]:
    """Make every trial of a grid have a record; trains only what has none.

    Args:
        grid: what to run.
        store: where records are and go.
        workspace: where data and teachers are and go.
        device: `auto` or a device's name.
        threads: for torch on the CPU; None is every core.
        retry_failed: run failed trials again.
        progress: takes one line of text at a time.

    Returns:
        The records of the trials, in their order.

    Raises:
        BenchError: something is wrong with the request, its data or its teachers; no trial ran.
    """
    inputs = Inputs(grid, workspace, progress)
    _, missing = _look(grid, store, workspace, retry_failed)
    if missing:
        # What can be refused before data and teachers are made is refused before.
        store.check_writable()
        preflight.check_settings(missing)
        device, threads = set_up(device, threads)
    # Data of another source or configuration than now are made anew, and their trials are new.
    inputs.ensure_data()
    trials, missing = _look(grid, store, workspace, retry_failed)
    if missing:
        device, threads = set_up(device, threads)
    # A teacher that exists but was built with other options is refused even if all trials are
    # done: their records do not answer the question.
    inputs.ensure_teachers([*missing, *filter(_changes_teacher, trials)], device)
    trials, missing = _look(grid, store, workspace, retry_failed)
    if missing:
        preflight.check_settings(missing)
        preflight.check_teachers(missing, inputs)
    reference_rows.write_missing(references(trials), store, inputs)
    if missing:
        device, threads = set_up(device, threads)
        _Runner(store, inputs, device, threads, progress).run(missing)
    return [record for trial in trials if (record := store.get(trial.key)) is not None]


def _look(
    grid: Grid, store: ResultStore, workspace: Workspace, retry_failed: bool
) -> tuple[list[Trial], list[Trial]]:
    """The trials as far as their data and teachers are there, and those that have to run."""
    trials = identify(grid, workspace)
    return trials, [trial for trial in trials if _is_missing(trial, store, retry_failed)]


def _is_missing(trial: Trial, store: ResultStore, retry_failed: bool) -> bool:
    record = store.get(trial.key) if trial.is_identified else None
    return record is None or (retry_failed and not record.is_done)


def _changes_teacher(trial: Trial) -> bool:
    return any(key.startswith("teacher.") for key in trial.overrides)


class _Runner:
    """Works through trials; those that another process has claimed are waited for."""

    def __init__(
        self, store: ResultStore, inputs: Inputs, device: str, threads: int, progress: Progress
    ) -> None:
        self.store = store
        self.inputs = inputs
        self.device = device
        self.environment = capture(device, threads)
        self.progress = progress

    def run(self, trials: list[Trial]) -> None:
        """Return when every trial has a record that it did not have before."""
        # A record that is there now is a failure to be tried again; a newer one settles a trial.
        old = {trial.key: self.store.get(trial.key) for trial in trials}
        said = False
        while trials := [trial for trial in trials if not self._settle(trial, old[trial.key])]:
            # A pass takes long: what others ran meanwhile is settled, not waited for.
            trials = [t for t in trials if not self._has_new_record(t, old[t.key])]
            if trials and not said:
                self.progress(f"waiting for {len(trials)} trials that another process runs")
                said = True
            time.sleep(POLL_SECONDS)

    def _settle(self, trial: Trial, old: Record | None) -> bool:
        """Whether the trial has its record, by this process or by another."""
        if self._has_new_record(trial, old):
            return True
        with self.store.claim(trial.key) as granted:
            if not granted:
                return False
            if not self._has_new_record(trial, old):
                self._run(trial)
        return True

    def _has_new_record(self, trial: Trial, old: Record | None) -> bool:
        record = self.store.get(trial.key)
        return record is not None and record != old

    def _run(self, trial: Trial) -> None:
        self.progress(f"{trial.label}: starts on {self.device}")
        started = time.perf_counter()
        outcome = None
        try:
            outcome = self._train(trial)
            record = finished(trial, outcome, self.environment)
            said = f"test ndcg@20 {record.metrics['test']['ndcg@20']:.4f}"
        except Exception as error:
            outcome = None
            status, text = _failure(error)
            record = failed(trial, status, text, self.environment)
            said = f"{status}: {error}"
        self.store.write(record, outcome)
        self.progress(f"{trial.label}: {said}, {time.perf_counter() - started:.0f} s")
        if record.status == "out-of-memory":
            _free_memory()

    def _train(self, trial: Trial) -> Outcome:
        from bench.execution.trial import run_trial

        data = self.inputs.data((trial.dataset, trial.protocol))
        method = preflight.load_method(trial)
        return run_trial(trial, data, self.inputs.taught(trial), method, self.device, self.progress)


def _failure(error: Exception) -> tuple[str, str]:
    """What a record says of a trial that raised."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, TrialFailure):
        return error.status, text
    # PyTorch says that the host is out of memory in a plain RuntimeError.
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "out-of-memory", text
    return "error", "".join(traceback.format_exception(error))


def _free_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
