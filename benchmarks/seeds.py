"""How often two seeds of one method differ by a test over users alone.

    python benchmarks/seeds.py [results/reference]

Such a pair has nothing to find: the share of small p-values is that of false alarms which a test
would give that knows other users but no other seeds (docs/protocol.md, Comparing).
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

if __name__ == "__main__":
    # A script's own folder comes first on its path, and there `methods` is this folder's.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click

from bench.evaluation.metrics import parse_metric
from bench.evaluation.significance import compare_by_user
from bench.paths import SHIPPED
from bench.records.comparison import Ranks
from bench.records.frame import runs
from bench.records.store import ResultStore

METRIC = parse_metric("ndcg@20")


def p_values(store: ResultStore) -> Iterator[float]:
    """The p of every pair of seeds of every entry of a store, where users are known."""
    frame = runs(store.records(), store.folder)
    frame, ranks = frame[frame["status"] == "done"].sort_values("seed"), Ranks(frame)
    for _, entry in frame.groupby("entry"):
        users = ranks.users(entry["data_fingerprint"].iloc[0])
        if users is None:
            continue
        known = [
            METRIC.per_row(found)
            for key, seen in zip(entry["key"], entry["seen"], strict=True)
            if (found := ranks.of(key, seen)) is not None
        ]
        for one, other in itertools.combinations(known, 2):
            compared = compare_by_user(one, other, users)
            if compared is not None:
                yield compared.p


@click.command()
@click.argument(
    "results", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False
)
def main(results: Path | None) -> None:
    """Count the pairs of seeds in RESULTS whose difference in NDCG@20 has a small p."""
    found = list(p_values(ResultStore(results or SHIPPED / "results" / "reference")))
    for level in (0.05, 0.01):
        below = sum(p < level for p in found)
        click.echo(f"p < {level}: {below} of {len(found)} pairs")


if __name__ == "__main__":
    main()
