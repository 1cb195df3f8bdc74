"""`bench report`: the leaderboards of a results folder."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli import options
from bench.cli.printing import say, tell


@click.command()
@click.option(
    "--format",
    "format_name",
    default="markdown",
    show_default=True,
    help="markdown, json, csv, latex, html, or svg: a figure (needs matplotlib).",
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
def command(
    format_name: str,
    metrics: tuple[str, ...],
    datasets: tuple[str, ...],
    methods: tuple[str, ...],
    against: str,
    references: tuple[str, ...],
    results: Path | None,
    output: Path | None,
) -> None:
    """Leaderboards from the records: mean and deviation over seeds, against one method.

    JSON and CSV have a line for each entry and metric, with all that is known about it.

    \b
      bench report --dataset game --metric ndcg@10
      bench report --dataset game --against ranking-only
      bench report --format html --output report.html
    """
    from bench.files import write_whole, writing_to
    from bench.paths import Workspace
    from bench.records.store import ResultStore
    from bench.reporting.render import render

    workspace = Workspace.current()
    store = ResultStore(results or workspace.results)
    if references:
        from bench.execution.references import record_teachers

        record_teachers(references, store, workspace, datasets)
    text = render(store, format_name, metrics, datasets=datasets, methods=methods, against=against)
    if output is None:
        say(text)
    else:
        with writing_to(f"--output {output}"):
            write_whole(output, f"{text}\n".encode())
        tell(f"written to {output}")
