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
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    metavar="N",
    help="Draw N settings of each method from its `ranges` in place of its `search`.",
)
@click.option(
    "--search-seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of these draws.",
)
def command(dry_run: bool, samples: int | None, search_seed: int, **args: Any) -> None:
    """Compare the settings of methods on validation, the same number for each.

    What is compared stands in configs/methods/NAME.yaml: the settings under `search`, or with
    --samples as many as asked for, drawn at random from `ranges`. The best becomes what a
    method runs with when it is written into `settings` there, or for one dataset into `datasets`.
    Records of a search have a folder of their own, results/search, so that no leaderboard shows
    what was tried and not chosen.

    \b
      bench tune --method none --method hint --method de --dataset movielens
      bench tune --method none --method hint --method de --dataset movielens --samples 8
    """
    from bench.cli.execution import finish, grid_of, how_to_run, show_trials, store_of
    from bench.config.search import Search
    from bench.execution.run import run_grid
    from bench.paths import Workspace
    from bench.records.frame import runs
    from bench.records.record import now
    from bench.reporting.markdown import written
    from bench.reporting.search import searched

    workspace, started = Workspace.current(), now()
    how = how_to_run(args)
    search = Search(samples=samples, seed=search_seed)
    grid = grid_of(args, options.selected(args), workspace, search=search)
    store = store_of(args, workspace, SEARCH)
    if dry_run:
        show_trials(grid, store, workspace, args["device"])
        return
    records = run_grid(grid, store, workspace, **how)
    if records:
        say(written(searched(runs(records, store.folder))))
    finish(records, store, started)
