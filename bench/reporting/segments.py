"""Metrics of entries on segments of the test split, over seeds."""

from __future__ import annotations

import pandas as pd


def by_segment(runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Mean and deviation of a metric on each segment, by entry.

    Args:
        runs: of each entry and seed one.
        metric: such as `ndcg@20`.

    Returns:
        Of each segment that any run has the metric of, in the order of the records, the columns
        `cold/mean`, `cold/std` and `cold/examples`.
    """
    done = runs[runs["status"] == "done"].groupby("entry")
    columns = {}
    for name in runs.columns:
        segment, _, of = name.rpartition("/")
        if of == metric and f"{segment}/examples" in runs:
            columns[f"{segment}/mean"] = done[name].mean()
            columns[f"{segment}/std"] = done[name].std()
            columns[f"{segment}/examples"] = done[f"{segment}/examples"].first()
    return pd.DataFrame(columns, index=pd.Index(done.groups, name="entry"))
