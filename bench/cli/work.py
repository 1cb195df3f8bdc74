"""`bench work`: one worker, for whatever starts it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bench.cli import options
from bench.cli.printing import tell

if TYPE_CHECKING:
    from bench.plan import Trial


@click.command()
@options.selection
@options.working
def command(**args: Any) -> None:
    """Run the trials of a grid that nobody else runs, one after the other, and end.

    Any number of workers may share a results folder, on one machine or on several: start as many
    as there are devices, with the same options, by whatever scheduler there is. Told to end by
    SIGTERM, SIGUSR1 or SIGUSR2, a worker keeps the state of its trial for the next one, and exits
    with 0. Exit code 1: a trial of its own failed.

    \b
      sbatch --array=1-16 --signal=B:USR1@60 --wrap "exec bench work --suite demo"
    """
    from bench.cli.execution import finish, grid_of, store_of
    from bench.execution import stopping
    from bench.execution.run import work_on_grid
    from bench.execution.until import seconds_of
    from bench.paths import Workspace
    from bench.records.record import now

    workspace, started = Workspace.current(), now()
    own: list[Trial] = []
    try:
        with stopping.listening():
            grid, store = (
                grid_of(args, options.selected(args), workspace),
                store_of(args, workspace),
            )
            work_on_grid(
                grid,
                store,
                workspace,
                device=args["device"],
                threads=args["threads"],
                retry_failed=args["retry_failed"],
                trackers=args["trackers"],
                seconds=seconds_of(args["until"]) if args["until"] else None,
                watch=lambda trial: None if trial is None else own.append(trial),
            )
    except stopping.Stopped:
        tell("ended before its trials were done: the next worker goes on")
        raise
    made = (store.get(trial.key) for trial in own)
    finish([record for record in made if record is not None], store, started)
    tell(f"{len(own)} trials run here; none is left that nobody runs")
