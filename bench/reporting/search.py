"""What a search over the settings of methods found; it never looks at a test metric."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from bench.evaluation.metrics import parse_metric
from bench.records.leaderboard import TABLE, leaderboard
from bench.reporting import formatting
from bench.reporting.section import Section, Table

_METHOD = ["setting", "method", "teacher", "control"]
"""What has a best of its settings."""


def searched(runs: pd.DataFrame) -> list[Section]:
    """The tables of a search: all settings of methods, and the best of each method.

    Args:
        runs: the trials of a search, in the order of its tables.
    """
    return [_section(group) for _, group in runs.groupby([*TABLE, "monitor"], sort=False)]


def _section(runs: pd.DataFrame) -> Section:
    split, _, name = runs["monitor"].iloc[0].partition("/")
    metric = parse_metric(name)
    by_entry = runs.groupby("entry", sort=False)
    board = leaderboard(runs, name, split=split).set_index("entry")
    board = board.loc[[*by_entry.groups]]
    board["epoch"] = by_entry["best_epoch"].mean()
    best = board[board["n"] > 0].sort_values(["n", "mean"], ascending=False, kind="stable")
    best = best.drop_duplicates(_METHOD)
    frame = formatting.names(board.assign(label=board["method"])).assign(
        **{
            "Settings": by_entry["overrides"].first().map(_settings),
            "Seeds": board["n"].astype(str),
            f"{metric.label} (valid)": formatting.shown(board["mean"], "{:.4f}".format),
            "vs none": formatting.gain(board["gain"]),
            "Epoch": formatting.shown(board["epoch"], "{:.0f}".format),
            "Best": board.index.isin(best.index),
        }
    )
    frame["Best"] = frame["Best"].map({True: "*", False: ""})
    method = board.groupby(_METHOD, sort=False, dropna=False).ngroup()
    note = (
        "Best: marked is the best of the settings of each method, of those with most seeds. "
        "vs none: on the seeds that both have."
    )
    return Section(
        title=f"{runs['dataset'].iloc[0]} · {runs['protocol'].iloc[0]}: search",
        intro=f"{metric.label} on validation, mean over seeds. Test metrics are not looked at.",
        tables=[Table("", frame.set_index(method).sort_index(kind="stable"), 5, [note])],
        failures=_failures(runs, frame),
    )


def _settings(overrides: Mapping[str, object]) -> str:
    """What the search and `--set method.*` changed, such as `weight=0.1`."""
    own = [(k.removeprefix("method."), v) for k, v in overrides.items() if k.startswith("method.")]
    return ", ".join(f"{name}={value}" for name, value in own) or "as configured"


def _failures(runs: pd.DataFrame, frame: pd.DataFrame) -> list[str]:
    lost = runs[runs["status"] != "done"]
    names = frame[["Student", "Method", "Teacher", "Settings"]]
    return [
        f"{run.dataset} {name.Student} {name.Method} ({name.Teacher}) seed {run.seed}, "
        f"{name.Settings}: {run.status}"
        for run, name in zip(lost.itertuples(), names.loc[lost["entry"]].itertuples(), strict=True)
    ]
