"""`bench tune`: every method with the same number of settings, compared on validation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli import options
from bench.cli.run import execute, show, tell_failures

if TYPE_CHECKING:
    from bench.config.selection import Selection
    from bench.execution.devices import Jobs

SEARCH = "search"


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
    """Compare the settings of methods on validation, the same number for each.

    What is compared stands in configs/methods/NAME.yaml under `search`. The best becomes what a
    method runs with when it is written into `settings` there, or for one dataset into `datasets`.
    Records of a search have a folder of their own, results/search, so that no leaderboard shows
    what was tried and not chosen.

    \b
      bench tune --method none --method hint --method de --dataset movielens
    """
    from bench.config.grid import resolve
    from bench.paths import Workspace
    from bench.reporting.markdown import written
    from bench.reporting.search import searched
    from bench.results.store import ResultStore

    workspace = Workspace.current()
    grid = resolve(selection, workspace, search=True)
    store = ResultStore(results or workspace.results / SEARCH)
    if dry_run:
        show(grid, store, workspace)
        return
    records = execute(grid, store, workspace, device, jobs, threads, retry_failed)
    if records:
        click.echo(written(searched(records)))
    tell_failures(records, store)
