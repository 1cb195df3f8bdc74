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
    segments = [
        segment
        for segment, _, of in (name.rpartition("/") for name in runs.columns)
        if of == metric and f"{segment}/examples" in runs
    ]
    done = runs[runs["status"] == "done"].groupby("entry")
    values, sizes = ([f"{each}/{of}" for each in segments] for of in (metric, "examples"))
    parts = {
        "mean": done[values].mean(),
        "std": done[values].std(),
        "examples": done[sizes].first(),
    }
    found = [part.set_axis([f"{s}/{of}" for s in segments], axis=1) for of, part in parts.items()]
    return pd.concat(found, axis=1)[[f"{s}/{of}" for s in segments for of in parts]]
