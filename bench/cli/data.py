"""`bench data`: fetch, import, prepare and describe datasets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli import options
from bench.cli.printing import show
from bench.paths import Workspace

if TYPE_CHECKING:
    from bench.cli.dataset import DatasetArgs

command = click.Group("data", help="Fetch, import, prepare and describe datasets.")


@command.command("prepare")
@click.argument("dataset")
@options.rows
def prepare(args: DatasetArgs) -> None:
    """Make the prediction rows of DATASET; fetch its source if need be."""
    _describe(args)


@command.command("info")
@click.argument("dataset")
@options.rows
@options.form
def info(args: DatasetArgs, form: str) -> None:
    """Counts, fingerprint and comparison with the publication of DATASET."""
    _describe(args, form)


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
    type=click.Choice(["table", "user-sequences", "item-sequences", "dllm2rec", "minionerec"]),
    help="How PATH holds interactions.  [dllm2rec or minionerec for such a folder, else table]",
)
@click.option("--file-order", is_flag=True, help="Rows stand in the order of time.")
@options.protocol
@click.option(
    "--replace-shipped",
    is_flag=True,
    help="DATASET is one that the suite knows, and PATH a copy of it.",
)
@click.option("--force", is_flag=True, help="Replace other interactions that are there.")
def import_(
    dataset: str,
    path: Path,
    items: Path | None,
    columns: tuple[str, ...],
    layout: str | None,
    file_order: bool,
    protocol: str | None,
    replace_shipped: bool,
    force: bool,
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
    from bench.cli.dataset import DatasetArgs
    from bench.data.config import protocol_name
    from bench.data.sources import importing

    workspace = Workspace.current()
    tables = importing.tables_at(path, items, columns, layout=layout, file_order=file_order)
    data = importing.read(tables)
    importing.store(
        dataset,
        data,
        workspace,
        protocol=protocol_name(protocol),
        replace_shipped=replace_shipped,
        force=force,
    )
    _describe(DatasetArgs(dataset, protocol, ()))


def _describe(args: DatasetArgs, form: str = "text") -> None:
    """Prepare what was asked for, and print what there is to say about it."""
    from bench.data import describe, store

    rows = args.resolve()
    data = rows.data()
    about = store.about(rows.dataset, rows.protocol.slug, rows.workspace)
    show(describe.describe(data, rows.config, about), form, describe.as_text)
