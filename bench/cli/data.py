"""`bench data`: fetch, import, prepare and describe datasets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.paths import Workspace

if TYPE_CHECKING:
    from bench.data.rows import PreparedData

command = click.Group("data", help="Fetch, import, prepare and describe datasets.")

_protocol = click.option(
    "--protocol",
    metavar="NAME",
    help="temporal, timepoint, leave-one-out or given.  [the dataset's own]",
)
_overrides = click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Such as protocol.history=20 or protocol.filters.user_core=5.",
)


@command.command("prepare")
@click.argument("dataset")
@_protocol
@_overrides
def prepare(dataset: str, protocol: str | None, overrides: tuple[str, ...]) -> None:
    """Make the prediction rows of DATASET; fetch its source if need be."""
    _show(_describe(dataset, protocol, overrides))


@command.command("info")
@click.argument("dataset")
@_protocol
@_overrides
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
def info(dataset: str, protocol: str | None, overrides: tuple[str, ...], form: str) -> None:
    """Counts, fingerprint and comparison with the publication of DATASET."""
    description = _describe(dataset, protocol, overrides)
    if form == "json":
        click.echo(json.dumps(description, indent=2))
    else:
        _show(description)


@command.command("import")
@click.argument("dataset")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--items", type=click.Path(path_type=Path), help="Table of items (id, title, ...).")
@click.option(
    "--column",
    "columns",
    metavar="ROLE=NAME",
    multiple=True,
    help="Such as user=reviewerID; roles: user, item, time, position, rating, split, title and, "
    "repeatable, text, which follows the title.",
)
@click.option(
    "--layout",
    type=click.Choice(["table", "user-sequences", "item-sequences", "dllm2rec"]),
    help="How PATH holds interactions.  [dllm2rec for such a folder, else table]",
)
@click.option("--file-order", is_flag=True, help="Rows stand in the order of time.")
def import_(
    dataset: str,
    path: Path,
    items: Path | None,
    columns: tuple[str, ...],
    layout: str | None,
    file_order: bool,
) -> None:
    """Make what lies at PATH the interactions of DATASET.

    \b
    PATH is
      a table (tsv, csv, RecBole's .inter; also .gz, .zst; parquet), or
      a folder with tables called such as interactions.tsv.gz and items.tsv.gz, or
      a file of sequences, one user per line, or
      the folder of rows that DLLM2Rec's program reads.

    Common column names are recognised.
    """
    from bench.config import layers
    from bench.data import importing

    workspace = Workspace.current()
    tables = importing.tables_at(path, items, columns, layout=layout, file_order=file_order)
    data = importing.read(tables)
    configured = dataset in layers.names("datasets", workspace)
    importing.store(dataset, data, workspace, configured=configured)
    _show(_describe(dataset, None, ()))


def _describe(dataset: str, protocol: str | None, overrides: tuple[str, ...]) -> dict[str, Any]:
    from bench.config.overrides import Overrides, protocol_of
    from bench.data import describe, store
    from bench.data.config import dataset_config

    workspace = Workspace.current()
    config = dataset_config(dataset, workspace)
    given = Overrides(overrides)
    chosen = protocol_of(config, protocol, given)
    given.refuse_unused()
    data: PreparedData = store.prepare(dataset, config, chosen, workspace, _progress)
    return describe.describe(data, config, store.about(dataset, chosen.slug, workspace))


def _show(description: dict[str, Any]) -> None:
    from bench.data.describe import as_text

    click.echo(as_text(description))


def _progress(line: str) -> None:
    click.echo(line, err=True)
