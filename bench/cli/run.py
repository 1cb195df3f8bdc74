"""`bench run`: a grid in, its leaderboard out."""

from __future__ import annotations

from typing import Any

import click

from bench.cli import options
from bench.cli.printing import say


@click.command()
@options.selection
@options.references
@options.execution
def command(dry_run: bool, **args: Any) -> None:
    """Train students under distillation methods and print their leaderboard.

    Options that take a NAME may be repeated and make a grid. Only trials without a record run;
    data and teachers that are missing are made first.
    """
    from bench.cli.execution import finish, grid_of, how_to_run, show_trials, store_of
    from bench.execution.run import run_grid
    from bench.paths import Workspace
    from bench.records.record import now
    from bench.reporting.render import render

    workspace, started = Workspace.current(), now()
    how = how_to_run(args)
    grid, store = grid_of(args, options.selected(args), workspace), store_of(args, workspace)
    if dry_run:
        show_trials(grid, store, workspace, args["device"])
        return
    records = run_grid(grid, store, workspace, **how)
    if records:
        say(render(store, keys=[record.key for record in records]))
    finish(records, store, started)
