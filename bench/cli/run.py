"""`bench run`: a grid in, its leaderboard out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bench.cli import options

if TYPE_CHECKING:
    from bench.cli.execution import Execution
    from bench.config.selection import Selection


@click.command()
@options.selection
@options.execution
def command(selection: Selection, execution: Execution) -> None:
    """Train students under distillation methods and print their leaderboard.

    Options that take a NAME may be repeated and make a grid. Only trials without a record run;
    data and teachers that are missing are made first.
    """
    from bench.config.grid import resolve
    from bench.paths import Workspace
    from bench.reporting.render import render

    workspace = Workspace.current()
    execution.carry_out(
        resolve(selection, workspace),
        workspace,
        "",
        lambda store, records: render(store, keys=[record.key for record in records]),
    )
