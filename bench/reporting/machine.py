"""The report for programs: a leaderboard with all that is known of its entries, as JSON or CSV."""

from __future__ import annotations

import pandas as pd

from bench.evaluation.metrics import metric_names
from bench.printable import for_spreadsheet
from bench.reporting.segments import by_segment


def as_json(board: pd.DataFrame, runs: pd.DataFrame) -> str:
    """A list with one object per entry and metric, in the columns of `as_csv`."""
    whole = _whole(board, runs)
    return whole.to_json(orient="records", double_precision=15, force_ascii=False, indent=2)


def as_csv(board: pd.DataFrame, runs: pd.DataFrame) -> str:
    """One line per entry and metric.

    Its columns are those of a leaderboard, and of each segment its number of `examples` and the
    metric's `mean` and `std` there, such as `cold/mean`; `keys` of the records and `errors`. Texts
    are as `bench.printable.for_spreadsheet` has them. Where it has other characters than ASCII it
    begins with a byte order mark, without which Excel reads them in the encoding of the country.
    """
    whole = _whole(board, runs)
    texts = whole.select_dtypes(["object", "string"]).columns
    whole[texts] = whole[texts].map(for_spreadsheet)
    text = whole.to_csv(index=False, lineterminator="\n").rstrip("\n")
    return text if text.isascii() else f"\ufeff{text}"


def _whole(board: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    done = runs[runs["status"] == "done"]
    lost = runs[runs["status"] != "done"]
    messages = "seed " + lost["seed"].astype(str) + ": " + lost["status"] + ": " + lost["error"]
    keys = done["key"].groupby(done["entry"]).agg(" ".join).rename("keys")
    errors = messages.groupby(lost["entry"]).agg("\n".join).rename("errors")
    segments = [by_segment(runs, name).assign(metric=name) for name in metric_names()]
    board = board.join(keys, on="entry").join(errors, on="entry")
    return board.merge(pd.concat(segments).reset_index(), on=["entry", "metric"], how="left")
