"""Metrics of entries on segments of the test split, over seeds."""

from __future__ import annotations

import pandas as pd

from bench.data.config import Seen
from bench.evaluation.metrics import MASKED

_MASKED = f"-{MASKED}"


def by_segment(runs: pd.DataFrame, metric: str, seen: Seen = "rank") -> pd.DataFrame:
    """Mean and deviation of a metric on each segment, by entry.

    Args:
        runs: of each entry and seed one.
        metric: such as `ndcg@20`.
        seen: the rule of baselines and teachers; trials have segments under their own.

    Returns:
        Of each segment that any run has the metric of, in the order of the records, the columns
        `cold/mean`, `cold/std` and `cold/examples`.
    """
    found = (name.rpartition("/") for name in runs.columns)
    segments = [
        segment
        for segment, _, of in found
        if of == metric and f"{segment}/examples" in runs and not segment.endswith(_MASKED)
    ]
    if seen == "mask":
        runs = _masked(runs, segments)
    done = runs[runs["status"] == "done"].groupby("entry")
    values, sizes = ([f"{each}/{of}" for each in segments] for of in (metric, "examples"))
    parts = {
        "mean": done[values].mean(),
        "std": done[values].std(),
        "examples": done[sizes].first(),
    }
    named = [part.set_axis([f"{s}/{of}" for s in segments], axis=1) for of, part in parts.items()]
    return pd.concat(named, axis=1)[[f"{s}/{of}" for s in segments for of in parts]]


def _masked(runs: pd.DataFrame, segments: list[str]) -> pd.DataFrame:
    """The runs with what baselines and teachers have without the items that users had before."""
    prefixes = tuple(f"{segment}{_MASKED}/" for segment in segments)
    masked = [str(name) for name in runs if str(name).startswith(prefixes)]
    plain = [name.replace(f"{_MASKED}/", "/") for name in masked]
    reference = runs["kind"] != "trial"
    runs = runs.copy()
    runs.loc[reference, plain] = runs.loc[reference, masked].set_axis(plain, axis=1)
    return runs
