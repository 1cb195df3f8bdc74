"""What preparing a log takes, in parsing passes over its file: `python benchmarks/preparation.py`.

A file of random reviews is written in each form, and a fresh process for each measures, in CPU
seconds of all its threads, one parsing pass before and one after one preparation (read the file,
order, store, make the rows of `temporal`), and its highest memory.

A parsing pass is the least that anyone reads: each line becomes an object (`orjson.loads`) or a
list of fields (the module csv), and its user, item and time are taken and forgotten.

The lines of `full` have the fields of an Amazon review, with 500 characters of text on average; the
others have a user, an item and a time alone, which makes the pass as short as it can be.
"""

from __future__ import annotations

import csv
import gzip
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Literal, get_args

if __name__ == "__main__":  # the folder above in place of this one
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click
import numpy as np
import orjson

from bench.data import store
from bench.data.config import DatasetConfig
from bench.paths import Workspace

CHUNK = 1 << 18
COLUMNS = {"user": "reviewerID", "item": "asin", "time": "unixReviewTime"}

TEXT = "Their letters are those of any English text, and their number is the mean. " * 14
FULL = (
    '{{"overall": 5.0, "verified": true, "reviewTime": "10 17, 2015", "reviewerID": "{0}", '
    '"asin": "{1}", "style": {{"Format:": " Hardcover"}}, "reviewerName": "A. Reviewer", '
    '"reviewText": "{3}", "summary": "Five Stars", "unixReviewTime": {2}}}\n'
)

Form = Literal["full.json", "full.json.gz", "json", "json.gz", "csv", "csv.gz"]
FORMS: tuple[Form, ...] = get_args(Form)


def reviews(count: int) -> Iterator[tuple[list[str], list[str], list[int]]]:
    """Users, items and days of `count` reviews, grouped by item as Amazon's files are.

    A user has 20 of them and an item 100 on average, both by a law of powers.
    """
    draw = np.random.default_rng(0)
    users, items = max(2, count // 20), max(2, count // 100)
    item = np.sort((items * draw.random(count) ** 2).astype(np.int64))
    for start in range(0, count, CHUNK):
        part = item[start : start + CHUNK]
        user = (users * draw.random(len(part)) ** 1.5).astype(np.int64)
        day = draw.integers(12_000, 17_800, len(part)) * 86_400
        yield (
            [f"A{n:013X}" for n in (user * 7_919 % 15_485_863).tolist()],
            [f"B{n:09X}" for n in (part * 7_919 % 15_485_863).tolist()],
            day.tolist(),
        )


def write(path: Path, count: int) -> None:
    """The reviews, in all fields or in three, so that nothing else is parsed."""
    form = path.name.partition(".")[2]
    opened: Any = gzip.open if form.endswith("gz") else open
    row = '{{"reviewerID": "{}", "asin": "{}", "unixReviewTime": {}}}\n'
    with opened(path, "wt") as stream:
        if form.startswith("csv"):
            row = "{},{},{}\n"
            stream.write(",".join(COLUMNS.values()) + "\n")
        elif form.startswith("full"):
            row = FULL
        for part in reviews(count):
            texts = (TEXT[: n % 1000] for n in part[2]) if row is FULL else ()
            columns = (*part, texts) if row is FULL else part
            stream.write("".join(map(row.format, *columns)))


def pass_over(path: Path) -> None:
    """One parsing pass."""
    form = path.name.partition(".")[2]
    opened: Callable[..., IO[Any]] = gzip.open if form.endswith("gz") else open
    if form.startswith("csv"):
        with opened(path, "rt", newline="") as text:
            for row in csv.reader(text):
                row[0], row[1], row[2]
    else:
        with opened(path, "rb") as lines:
            for line in lines:
                record = orjson.loads(line)
                record["reviewerID"], record["asin"], record["unixReviewTime"]


def prepare(path: Path, home: Path) -> None:
    """All of a preparation, from the file to the rows on the disk."""
    table = {"urls": [f"http://127.0.0.1:9/{path.name}"], "columns": COLUMNS}
    config = DatasetConfig.model_validate(
        {"source": "download", "tables": [{"interactions": table}]}
    )
    downloads = home / "datasets" / "log" / "downloads"
    downloads.mkdir(parents=True)
    (downloads / path.name).symlink_to(path)
    store.prepare("log", config, config.protocol, Workspace(home))


def measured(work: Callable[[], object]) -> float:
    """CPU seconds of all threads of this process."""
    started = time.process_time()
    work()
    return time.process_time() - started


def measure(path: Path) -> dict[str, float]:
    """Seconds of both, their ratio, and bytes at the peak of this process."""
    with tempfile.TemporaryDirectory(dir=path.parent) as home:
        passes = [measured(lambda: pass_over(path))]
        preparation = measured(lambda: prepare(path, Path(home)))
        passes.append(measured(lambda: pass_over(path)))
    parsing = sum(passes) / 2
    return {
        "pass": parsing,
        "preparation": preparation,
        "ratio": preparation / parsing,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


@click.command()
@click.option("--interactions", default=2_000_000, show_default=True)
@click.option("--form", "forms", type=click.Choice(FORMS), multiple=True, default=FORMS)
@click.option("--folder", type=click.Path(path_type=Path), help="where files are written")
@click.option("--measure", "path", type=click.Path(path_type=Path), hidden=True)
def main(
    interactions: int, forms: tuple[Form, ...], folder: Path | None, path: Path | None
) -> None:
    """Measure a preparation of each form, and print a table."""
    if path is not None:
        click.echo(json.dumps(measure(path)))
        return
    click.echo("| form | one pass | preparation | passes | peak |\n|---|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory(dir=folder) as home:
        for form in forms:
            file = Path(home, f"log.{form}")
            write(file, interactions)
            command = [sys.executable, __file__, "--measure", str(file)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout  # noqa: S603
            told = json.loads(output)
            click.echo(
                f"| {form} | {told['pass']:.1f} s | {told['preparation']:.1f} s | "
                f"{told['ratio']:.1f} | {told['peak'] / 1e9:.1f} GB |"
            )
            file.unlink()


if __name__ == "__main__":
    main()
