"""`bench results`: what can be done with records beside reporting them."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli import options
from bench.cli.printing import say


@click.group()
def command() -> None:
    """Keep records."""


@command.command()
@click.argument(
    "folders",
    metavar="DIR...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True),
)
@options.results
def merge(folders: tuple[Path, ...], results: Path | None) -> None:
    """Copy the records of other results folders or archives into one.

    What is there already stays; a failure gives way to a success. Two records of one trial with
    other ranks are refused, and nothing is copied.
    """
    from bench.paths import Workspace
    from bench.records.merge import merge
    from bench.records.store import ResultStore

    store = ResultStore(results or Workspace.current().results)
    copied = merge(store, map(ResultStore, folders))
    say(f"{copied} records copied into {store.folder}")


@command.command()
@options.records
def pack(results: Path | None) -> None:
    """Write the records of a results folder into one zip archive per dataset, beside them.

    The folder is read as before, with or without the folders of the records that were packed:
    delete those to have one file in place of hundreds. Students and logs are not packed.
    `unzip` unpacks.
    """
    from bench.paths import Workspace
    from bench.records.pack import pack
    from bench.records.store import ResultStore

    store = ResultStore(results or Workspace.current().results)
    for path in pack(store):
        say(path)
