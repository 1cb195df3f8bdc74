"""What data of millions take: `bench run` of one epoch, its ranking included, and its peak memory.

    python benchmarks/large.py --rows 20000000
    python benchmarks/large.py --catalogue 1000000 --objective gbce

`--rows` is interactions in the shape of MovieLens-20M: 144 a user, 26,744 items. `--catalogue` is
the number of items, with 10,000 users of eight interactions each. Items are drawn at random,
popular ones more often: there is nothing to learn. The protocol is leave-one-out with histories of
10 items, the student SASRec. Preparing is a process of its own, whose peak is told apart.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    # A script's own folder comes first on its path, and there `methods` is another file.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click
import numpy as np

from bench.data.prepare.interactions import Interactions
from bench.data.sources import importing
from bench.paths import Workspace
from bench.records.store import ResultStore
from benchmarks.served import ROOT

NAME = "large"


@dataclass(frozen=True)
class Shape:
    """How many users and items there are, and what each user has."""

    users: int
    items: int
    each: int

    def draw(self) -> Interactions:
        """Interactions of this shape."""
        random = np.random.default_rng(0)
        count = self.users * self.each
        # A cubed uniform: the most popular tenth of the items has almost half of the draws.
        item = (random.random(count, dtype=np.float32) ** 3 * self.items).astype(np.int32)
        return Interactions(
            user=np.repeat(np.arange(self.users, dtype=np.int32), self.each),
            item=np.minimum(item, self.items - 1),
            time=np.tile(np.arange(self.each), self.users),
            split=None,
            rating=None,
            user_tokens=[f"u{number:09}" for number in range(self.users)],
            item_tokens=[f"i{number:09}" for number in range(self.items)],
            item_texts=[""] * self.items,
            origin="drawn at random; none of this is real",
        )


def run(home: Path, *arguments: str) -> float:
    """Run `bench`; its peak of resident memory in GB."""
    process = subprocess.Popen(  # noqa: S603 - this suite
        [sys.executable, "-m", "bench", *arguments],
        env=os.environ | {"BENCH_HOME": str(home)},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise click.ClickException(f"bench {' '.join(arguments)} failed")
    return used.ru_maxrss * 1024 / 1e9


@click.command()
@click.option("--rows", type=click.IntRange(min=1000), help="Interactions.")
@click.option("--catalogue", type=click.IntRange(min=1000), help="Items.")
@click.option("--objective", default="sampled-ce", show_default=True)
@click.option("--positions", default="last", show_default=True, help="As training.positions.")
@click.option("--batch", default=2048, show_default=True)
@click.option("--validation-rows", default=5000, show_default=True)
def main(
    rows: int | None,
    catalogue: int | None,
    objective: str,
    positions: str,
    batch: int,
    validation_rows: int,
) -> None:
    """Print one table."""
    if (rows is None) == (catalogue is None):
        raise click.UsageError("say --rows or --catalogue")
    shape = Shape(rows // 144, 26_744, 144) if rows else Shape(10_000, catalogue or 0, 8)
    settings = {
        "objective": objective,
        "positions": positions,
        "batch_size": batch,
        "validation_rows": validation_rows,
        "max_epochs": 1,
        "min_epochs": 1,
    }
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        importing.store(NAME, shape.draw(), Workspace(home), protocol="leave-one-out")
        prepared = run(home, "data", "prepare", NAME)
        chosen = [word for name, value in settings.items() for word in _set(name, value)]
        peak = run(home, "run", "-d", NAME, "-m", "none", "--threads", "1", *chosen)
        (record,) = (one for one in ResultStore(Workspace(home).results).records() if one.trial)
    trained = record.timings["train_cpu_seconds"]
    ranked = (record.timings["total_seconds"] or 0) - (record.timings["fit_seconds"] or 0)
    click.echo("| | |\n|---|--:|")
    for what, value in {
        "users, items": f"{shape.users:,}, {shape.items:,}",
        "interactions": f"{shape.users * shape.each:,}",
        "training rows": f"{shape.users * (shape.each - 3):,}",
        "preparing, peak": f"{prepared:.2f} GB",
        f"an epoch of {objective}, positions={positions}, batch {batch}": f"{trained:.0f} s CPU",
        f"ranking {2 * shape.users:,} rows": f"{ranked:.0f} s",
        "`bench run`, peak": f"{peak:.2f} GB",
    }.items():
        click.echo(f"| {what} | {value} |")


def _set(name: str, value: object) -> tuple[str, str]:
    return "--set", f"training.{name}={value}"


if __name__ == "__main__":
    main()
