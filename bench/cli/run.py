"""`bench run`: a grid in, its leaderboard out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli import options
from bench.cli.printing import progress

if TYPE_CHECKING:
    from bench.config.grid import Grid
    from bench.config.selection import Selection
    from bench.execution.devices import Jobs
    from bench.paths import Workspace
    from bench.plan import Trial
    from bench.results.record import Record
    from bench.results.store import ResultStore

FAILED = 1


@click.command()
@options.selection
@options.execution
@click.option("--dry-run", is_flag=True, help="Show the trials and their state; run nothing.")
def command(
    selection: Selection,
    device: str,
    jobs: Jobs,
    threads: int | None,
    results: Path | None,
    retry_failed: bool,
    dry_run: bool,
) -> None:
    """Train students under distillation methods and print their leaderboard.

    Options that take a NAME may be repeated and make a grid. Only trials without a record run;
    data and teachers that are missing are made first.
    """
    from bench.config.grid import resolve
    from bench.paths import Workspace
    from bench.reporting.render import render
    from bench.results.store import ResultStore

    workspace = Workspace.current()
    grid = resolve(selection, workspace)
    store = ResultStore(results or workspace.results)
    if dry_run:
        show(grid, store, workspace)
        return
    records = execute(grid, store, workspace, device, jobs, threads, retry_failed)
    if records:
        click.echo(render(store, keys=[record.key for record in records]))
    tell_failures(records, store)


def execute(
    grid: Grid,
    store: ResultStore,
    workspace: Workspace,
    device: str,
    jobs: Jobs,
    threads: int | None,
    retry_failed: bool,
) -> list[Record]:
    """Run what is missing of a grid, its progress on stderr (see `run_grid`)."""
    from bench.execution.grid import run_grid

    return run_grid(
        grid,
        store,
        workspace,
        device=device,
        threads=threads,
        jobs=jobs,
        retry_failed=retry_failed,
        progress=progress,
    )


def tell_failures(records: list[Record], store: ResultStore) -> None:
    """A line on stderr for every trial that failed, and exit code 1 if one did."""
    failures = [record for record in records if not record.is_done]
    for record in failures:
        last = (record.error or "").strip().splitlines()[-1]
        label = record.trial.label if record.trial else record.key
        click.echo(f"{label}: {record.status}: {last} ({store.folder / record.key})", err=True)
    if failures:
        click.echo(f"{len(failures)} of {len(records)} trials failed", err=True)
        raise click.exceptions.Exit(FAILED)


def show(grid: Grid, store: ResultStore, workspace: Workspace) -> None:
    """The table of a dry run; refuses the settings that a run would refuse."""
    from bench.cli.tables import aligned
    from bench.execution.inputs import identify
    from bench.execution.preflight import check_settings

    trials = identify(grid, workspace)
    check_settings(t for t in trials if not t.is_identified or store.get(t.key) is None)

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
    teacher = trial.teacher or "-"
    return [
        trial.dataset,
        trial.protocol,
        trial.student,
        trial.training.objective,
        trial.method_name,
        f"{teacher} ({trial.control})" if trial.control else teacher,
        str(trial.seed),
        " ".join(f"{key}={value}" for key, value in trial.overrides.items()) or "-",
    ]
