"""`bench tune`: every method with the same number of settings, compared on validation."""

from __future__ import annotations

from typing import Any

import click

from bench.cli import options
from bench.cli.printing import say

SEARCH = "search"


@click.command()
@options.selection
@options.execution
def command(dry_run: bool, **args: Any) -> None:
    """Compare the settings of methods on validation, the same number for each.

    What is compared stands in configs/methods/NAME.yaml under `search`. The best becomes what a
    method runs with when it is written into `settings` there, or for one dataset into `datasets`.
    Records of a search have a folder of their own, results/search, so that no leaderboard shows
    what was tried and not chosen.

    \b
      bench tune --method none --method hint --method de --dataset movielens
    """
    from bench.cli.execution import finish, grid_of, how_to_run, show_trials, store_of
    from bench.execution.run import run_grid
    from bench.paths import Workspace
    from bench.records.frame import runs
    from bench.records.record import now
    from bench.reporting.markdown import written
    from bench.reporting.search import searched

    workspace, started = Workspace.current(), now()
    how = how_to_run(args)
    grid = grid_of(args, options.selected(args), workspace, search=True)
    store = store_of(args, workspace, SEARCH)
    if dry_run:
        show_trials(grid, store, workspace, args["device"])
        return
    records = run_grid(grid, store, workspace, **how)
    if records:
        say(written(searched(runs(records, store.folder))))
    finish(records, store, started)
