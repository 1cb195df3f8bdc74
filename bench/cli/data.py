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
    "--protocol", metavar="NAME", help="temporal or leave-one-out  [default: the dataset's own]"
)


@command.command("prepare")
@click.argument("dataset")
@_protocol
def prepare(dataset: str, protocol: str | None) -> None:
    """Make the prediction rows of DATASET; fetch its source if need be."""
    _show(_describe(dataset, protocol))


@command.command("info")
@click.argument("dataset")
@_protocol
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
def info(dataset: str, protocol: str | None, form: str) -> None:
    """Counts, fingerprint and comparison with the publication of DATASET."""
    description = _describe(dataset, protocol)
    if form == "json":
        click.echo(json.dumps(description, indent=2))
    else:
        _show(description)


@command.command("import")
@click.argument("dataset")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--items", type=click.Path(path_type=Path), help="table of items (id, title, ...)")
@click.option("--user-column", metavar="NAME")
@click.option("--item-column", metavar="NAME")
@click.option("--time-column", metavar="NAME", help="numbers or ISO 8601")
@click.option("--position-column", metavar="NAME", help="order within a user")
@click.option("--rating-column", metavar="NAME")
@click.option("--split-column", metavar="NAME", help="train, valid, test or history")
@click.option("--title-column", metavar="NAME")
@click.option(
    "--text-column", "texts", metavar="NAME", multiple=True, help="follows the title; repeatable"
)
def import_(
    dataset: str, path: Path, items: Path | None, texts: tuple[str, ...], **columns: str | None
) -> None:
    """Make the tables at PATH the interactions of DATASET.

    PATH is a table of interactions (tsv, csv, parquet; .gz too) or a folder with tables called
    such as interactions.tsv.gz and items.tsv.gz. Common column names are recognised.
    """
    from bench.config import layers
    from bench.data import importing

    workspace = Workspace.current()
    given = {key.removesuffix("_column"): name for key, name in columns.items() if name}
    data = importing.read(importing.Tables(*importing.locate(path, items), given, texts))
    configured = dataset in layers.names("datasets", workspace)
    importing.store(dataset, data, workspace, configured=configured)
    _show(_describe(dataset, None))


def _describe(dataset: str, protocol: str | None) -> dict[str, Any]:
    from bench.data import describe, store
    from bench.data.config import dataset_config

    workspace = Workspace.current()
    config = dataset_config(dataset, workspace)
    chosen = config.protocol_named(protocol)
    data: PreparedData = store.prepare(dataset, config, chosen, workspace, _progress)
    return describe.describe(data, config, store.about(dataset, chosen.slug, workspace))


def _show(description: dict[str, Any]) -> None:
    from bench.data.describe import as_text

    click.echo(as_text(description))


def _progress(line: str) -> None:
    click.echo(line, err=True)
