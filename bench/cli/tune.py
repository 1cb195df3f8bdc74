"""`bench tune`: every method with the same number of settings, compared on validation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bench.cli import options

if TYPE_CHECKING:
    from bench.cli.execution import Execution
    from bench.config.selection import Selection

SEARCH = "search"


@click.command()
@options.selection
@options.execution
def command(selection: Selection, execution: Execution) -> None:
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

    workspace = Workspace.current()
    execution.carry_out(
        resolve(selection, workspace, search=True),
        workspace,
        SEARCH,
        lambda _, records: written(searched(records)),
    )
