"""A grid carried out: what `bench run` and `bench tune` do alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.tables import aligned

if TYPE_CHECKING:
    from bench.config.grid import Grid
    from bench.execution.devices import Jobs
    from bench.paths import Workspace
    from bench.plan import Trial
    from bench.records.record import Record
    from bench.records.store import ResultStore

FAILED = 1


@dataclass(frozen=True)
class Execution:
    """Where and how trials run, as a command line says it (see `run_grid`).

    Attributes:
        device: `auto` or a device's name.
        jobs: trials at once.
        threads: of each trial; None is an equal share.
        results: folder of the records; None is the workspace's.
        retry_failed: run trials again whose record is a failure.
        dry_run: show the trials and run nothing.
    """

    device: str
    jobs: Jobs
    threads: int | None
    results: Path | None
    retry_failed: bool
    dry_run: bool

    def carry_out(
        self,
        grid: Grid,
        workspace: Workspace,
        part: str,
        report: Callable[[ResultStore, list[Record]], str],
    ) -> None:
        """Run what is missing of a grid and print the report of its records, or show its trials.

        Args:
            grid: what to run.
            workspace: where data and teachers are and go.
            part: of the folder of the records, the one that these are for; "" is the whole.
            report: the text to print of the store and the grid's records, if there are any.

        Raises:
            Exit: code 1 if a trial failed; each has a line on stderr.
        """
        from bench.execution.grid import run_grid
        from bench.records.record import now
        from bench.records.store import ResultStore

        store = ResultStore((self.results or workspace.results) / part)
        if self.dry_run:
            _show(grid, store, workspace, self.device)
            return
        started = now()
        records = run_grid(
            grid,
            store,
            workspace,
            device=self.device,
            threads=self.threads,
            jobs=self.jobs,
            retry_failed=self.retry_failed,
        )
        if records:
            click.echo(report(store, records))
        _tell_failures(records, store, started)


def _tell_failures(records: list[Record], store: ResultStore, started: str) -> None:
    failures = [record for record in records if not record.is_done]
    for record in failures:
        last = (record.error or "").strip().splitlines()[-1]
        label = record.trial.label if record.trial else record.key
        click.echo(f"{label}: {record.status}: {last} ({store.folder / record.key})", err=True)
    older = sum(record.created < started for record in failures)
    if failures:
        click.echo(f"{len(failures)} of {len(records)} trials failed", err=True)
        if older:
            click.echo(
                f"{older} of them failed in an earlier run and did not run again: "
                "--retry-failed runs them",
                err=True,
            )
        raise click.exceptions.Exit(FAILED)


def _show(grid: Grid, store: ResultStore, workspace: Workspace, device: str) -> None:
    """The table of a dry run; refuses the settings that a run would refuse."""
    from bench.execution.devices import resolve_device
    from bench.execution.grid import is_missing, runnable
    from bench.execution.inputs import identify
    from bench.execution.preflight import check_device, check_settings

    trials = identify(runnable(grid, store, workspace), workspace)
    missing = [trial for trial in trials if is_missing(trial, store, retry_failed=False)]
    if missing:
        check_settings(missing)
        check_device(missing, resolve_device(device))

    header = ["key", "state", "dataset", "protocol", "student", "objective", "method", "teacher"]
    rows = [[*header, "seed", "overrides"]]
    for trial in trials:
        rows.append([*_key_and_state(trial, store), *_coordinates(trial)])
    click.echo(aligned(rows))


def _key_and_state(trial: Trial, store: ResultStore) -> tuple[str, str]:
    if not trial.is_identified:
        return "-", "missing"
    record = store.get(trial.key)
    if record is None:
        return trial.key[:12], "missing"
    return trial.key[:12], "done" if record.is_done else f"failed ({record.status})"


def _coordinates(trial: Trial) -> list[str]:
    return [
        trial.dataset,
        trial.protocol,
        trial.student,
        trial.training.objective,
        trial.method_name,
        trial.teacher_label or "-",
        str(trial.seed),
        " ".join(f"{key}={value}" for key, value in trial.overrides.items()) or "-",
    ]
