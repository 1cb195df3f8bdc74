"""`bench export`: a distilled student as a RecBole checkpoint."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli import options
from bench.cli.printing import say


@click.command()
@click.argument("key")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="File.  [KEY.pth]"
)
@options.records
def command(key: str, output: Path | None, results: Path | None) -> None:
    """Write the student of the trial KEY (any unique beginning) as a RecBole checkpoint.

    `bench list results` shows the keys.
    """
    from bench.data import store as data_store
    from bench.paths import Workspace
    from bench.records.export import export_checkpoint, find_trial, student_file
    from bench.records.store import ResultStore

    workspace = Workspace.current()
    store = ResultStore(results or workspace.results)
    record = find_trial(key, store)
    student_file(record, store)  # an error before the data are read
    assert record.trial is not None  # noqa: S101 - find_trial returns trials only
    data = data_store.load(record.trial.dataset, record.trial.protocol, workspace)
    written = export_checkpoint(record, store, data, output or Path(f"{record.key[:12]}.pth"))
    say(written)
