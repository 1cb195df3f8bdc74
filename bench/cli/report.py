"""`bench report`: the leaderboards of a results folder."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli import options
from bench.cli.printing import say, tell
from bench.limits import whole_number

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_ADDRESS, LAST_PORT = "127.0.0.1:8765", 65535


@click.command()
@click.option(
    "--format",
    "format_name",
    help="markdown, json, csv, latex, html, or svg: a figure (needs matplotlib).  [markdown]",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME@K",
    help="hr@K, ndcg@K or mrr@K, any K; the first is sorted by and tested.  [ndcg@20, hr@20]",
)
@click.option("--dataset", "-d", "datasets", multiple=True, help="Show this dataset only.")
@click.option("--method", "-m", "methods", multiple=True, help="Show this method only.")
@click.option(
    "--against",
    metavar="METHOD",
    default="none",
    show_default=True,
    help="Compare with, and test against, this method.",
)
@options.references
@options.records
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to a file instead of the terminal.",
)
@click.option(
    "--serve",
    is_flag=True,
    help="Show the page in a browser, and follow the folder while trials run.",
)
@click.option(
    "--address",
    metavar="HOST:PORT",
    help="Where --serve listens; other machines see it only if they are let in here.  "
    "[127.0.0.1:8765]",
)
def command(
    format_name: str | None,
    metrics: tuple[str, ...],
    datasets: tuple[str, ...],
    methods: tuple[str, ...],
    against: str,
    references: tuple[str, ...],
    results: Path | None,
    output: Path | None,
    serve: bool,
    address: str | None,
) -> None:
    """Leaderboards from the records: mean and deviation over seeds, against one method.

    JSON and CSV have a line for each entry and metric, with all that is known about it.

    \b
      bench report --dataset game --metric ndcg@10
      bench report --dataset game --against ranking-only
      bench report --format html --output report.html
      bench report --serve
    """
    from bench.files import write_output, writing_to
    from bench.paths import Workspace
    from bench.records.store import ResultStore
    from bench.reporting.formats import DEFAULT_FORMAT
    from bench.reporting.render import render

    workspace = Workspace.current()
    store = ResultStore(results or workspace.results)
    chosen: dict[str, Any] = {"datasets": datasets, "methods": methods, "against": against}
    if references:
        from bench.execution.references import record_teachers

        record_teachers(references, store, workspace, datasets)
    if serve:
        if output is not None or format_name not in (None, "html"):
            raise click.UsageError("--serve shows a page: leave out --output and --format")
        follow(
            store.folder,
            metrics,
            chosen,
            *_host_and_port(DEFAULT_ADDRESS if address is None else address),
        )
        return
    if address is not None:
        raise click.UsageError("--address goes with --serve")
    text = render(store, format_name or DEFAULT_FORMAT, metrics, **chosen)
    if output is None:
        say(text)
    else:
        with writing_to(f"--output {output}"):
            write_output(output, f"{text}\n".encode())
        tell(f"written to {output}")


def follow(
    folder: Path, metrics: tuple[str, ...], chosen: dict[str, Any], host: str, port: int
) -> None:
    """Show the page of a folder until Ctrl-C."""
    from bench.records.store import ResultStore
    from bench.reporting.page.serve import Followed, Server
    from bench.reporting.render import DEFAULT_METRICS, selected

    def select() -> tuple[pd.DataFrame, pd.DataFrame]:
        return selected(ResultStore(folder), metrics or DEFAULT_METRICS, **chosen)

    followed = Followed(folder, select)
    followed.content()  # what is wrong with the request is said now
    with Server(host, port, followed) as server:
        say(server.url)
        tell("Ctrl-C ends it")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def _host_and_port(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    number = whole_number(port, LAST_PORT)
    if not colon or not host or number is None:
        raise click.UsageError(
            f"--address {address}: expected HOST:PORT, such as {DEFAULT_ADDRESS}"
        )
    return host, number
