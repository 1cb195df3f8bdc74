"""What the published tie rule of `game` is worth: `python benchmarks/ties.py`.

A synthetic log with the share of ties that Amazon's days make is written as the publishers write
theirs, grouped by item, and the same students and baselines are run on `game` (ties in the order of
the file) and on `game-drawn` (ties drawn for each user). A difference is what the rule tells of the
next item.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":  # the folder above in place of this one
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click
import numpy as np

from bench.data.sources.synthetic import read_synthetic
from bench.data.sources.synthetic_config import SyntheticConfig

DAY = 86_400
DATASETS = ("game", "game-drawn")


def write(home: Path, config: SyntheticConfig, tied: float) -> None:
    """The files of both datasets; of neighbours in a sequence the share `tied` is of one day."""
    data = read_synthetic(config)
    draw = np.random.default_rng(0)
    first = np.diff(data.user, prepend=-1) != 0
    later = np.where(first, draw.integers(0, 1500, len(data)), draw.random(len(data)) >= tied)
    day = np.cumsum(later)
    day -= np.maximum.accumulate(np.where(first, day - later, 0))
    names = draw.permutation(len(data.item_tokens))  # neighbours in the catalogue are none here
    lines = [
        json.dumps(
            {
                "reviewerID": data.user_tokens[user],
                "asin": f"B{name:09}",
                "unixReviewTime": int(time) * DAY,
                "overall": 5.0,
            }
        )
        for name, user, time in sorted(zip(names[data.item], data.user, day, strict=True))
    ]
    about = [
        json.dumps({"asin": f"B{name:09}", "title": text})
        for name, text in zip(names, data.item_texts, strict=True)
    ]
    for dataset in DATASETS:
        folder = home / "datasets" / dataset / "downloads"
        folder.mkdir(parents=True)
        for name, content in (("Video_Games_5", lines), ("meta_Video_Games", about)):
            (folder / f"{name}.json.gz").write_bytes(gzip.compress("\n".join(content).encode()))


@click.command()
@click.option("--users", default=3000, show_default=True)
@click.option("--items", default=1000, show_default=True)
@click.option("--tied", default=0.4, show_default=True, help="share of steps within a day")
@click.option("--epochs", default=10, show_default=True)
def main(users: int, items: int, tied: float, epochs: int) -> None:
    """Run both and print their boards."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        write(home, SyntheticConfig(users=users, items=items, interactions=12 * users), tied)
        chosen = [part for dataset in DATASETS for part in ("--dataset", dataset)]
        command = [sys.executable, "-m", "bench", "run", "--method", "none", *chosen]
        command += ["--set", f"training.max_epochs={epochs}", "--threads", "1"]
        subprocess.run(command, check=True, env={**os.environ, "BENCH_HOME": folder})  # noqa: S603


if __name__ == "__main__":
    main()
