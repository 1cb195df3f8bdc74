"""What the page shows of all entries at once, as plain values that go into its JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from bench.evaluation.metrics import parse_metric
from bench.records.leaderboard import TABLE
from bench.records.record import now
from bench.reporting import costs, formatting, rules
from bench.reporting.average_rank import average_ranks
from bench.reporting.overview import reference_gains
from bench.reporting.tables import last_line, sections, tested, title

_FACTS = [
    *("dataset", "protocol", "student", "objective", "method", "label", "control", "kind"),
    *("selection", "seen", "setting", "counterpart", "n", "failed", "seeds", "epochs"),
    *("epoch_vs_none", "train_vs_none", "train_seconds", "parameters", "train_parameters"),
    *("latency_ms", "timed_on", "examples", "is_current", "overrides"),
]
"""Columns of a leaderboard that the page takes as they are; `seen` is of the runs."""

_MEASURED = {
    **{name: name for name in ("mean", "std", "gain", "p_holm", "significant", "gap_closed")},
    **{"low": "gain_low", "high": "gain_high"},
}
"""What is known of an entry by metric, and its column."""


def content(board: pd.DataFrame, runs: pd.DataFrame) -> dict[str, Any]:
    """The overview of a leaderboard.

    Args:
        board: a leaderboard of one or several metrics.
        runs: what it was made of.
    """
    made = {"made": now()[:16].replace("T", " "), "entries": [], "settings": {}, "notes": []}
    if board.empty:
        return {**made, "metrics": [], "against": "", "references": [], "ranks": [], "failures": []}
    metrics = [str(name) for name in board["metric"].unique()]
    return {
        **made,
        "metrics": [{"name": name, "label": parse_metric(name).label} for name in metrics],
        "against": str(board["against"].iloc[0]),
        "entries": list(_entries(rules.settled(board), runs)),
        "settings": _settings(tested(board)),
        "references": list(_references(board)),
        "ranks": list(_ranks(board)),
        "failures": list(_failures(board, runs)),
        "notes": _notes(board, runs),
    }


def _entries(board: pd.DataFrame, runs: pd.DataFrame) -> Iterator[dict[str, Any]]:
    entries = tested(board).set_index("entry", drop=False)
    entries["seen"] = runs.drop_duplicates("entry").set_index("entry")["seen"]
    entries["latency_ms"] = costs.latency(entries)
    facts = _plain(entries[_FACTS].assign(teacher=formatting.teacher(entries)))
    measured: dict[str, dict[str, Any]] = {name: {} for name in entries["entry"]}
    for metric, part in board.groupby("metric", sort=False):
        values = part[[*_MEASURED.values()]].set_axis([*_MEASURED], axis=1)
        for entry, line in zip(part["entry"], _plain(values), strict=True):
            measured[entry][str(metric)] = line
    for entry, line in zip(entries["entry"], facts, strict=True):
        yield {"id": entry, **line, "by": measured[entry]}


def _settings(entries: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Titles of the settings of trials, and of the table of comparable entries each is in."""
    found = {}
    trials = entries[entries["kind"] == "trial"]
    for setting, group in trials.groupby("setting", sort=False):
        first = group.iloc[0]
        table = title(group)
        found[str(setting)] = {
            "title": f"{table} · {first.student} ({first.objective})",
            "table": " ".join(str(first[name]) for name in TABLE),
            "table_title": table,
        }
    titles = [each["title"] for each in found.values()]
    for setting, each in found.items():
        if titles.count(each["title"]) > 1:
            each["title"] += f" · {setting[:6]}"
    return found


def _references(board: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """What baselines and teachers gain over `none`, by metric and setting."""
    for metric, part in board.groupby("metric", sort=False):
        found = reference_gains(part).dropna(subset="gain")
        names = ("teacher " + found["teacher"]).fillna(found["method"])
        lines = found[["setting", "entry", "gain"]].assign(metric=metric, name=names)
        yield from lines.to_dict("records")


def _ranks(board: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Average ranks over datasets, by metric, student, objective and rule."""
    for metric, part in board.groupby("metric", sort=False):
        for found in average_ranks(part):
            lines = found.ranks.index.to_frame(index=False)
            lines = lines.assign(mean=[*found.mean], told=[*found.told_apart])
            yield {
                **{"metric": metric, "student": found.student, "objective": found.objective},
                **{"seen": found.seen, "title": found.name, "note": found.note},
                "critical": found.critical,
                "datasets": [*found.ranks.columns],
                "lines": lines.assign(of=found.ranks.to_numpy().tolist()).to_dict("records"),
            }


def _failures(board: pd.DataFrame, runs: pd.DataFrame) -> Iterator[dict[str, Any]]:
    entries = tested(board)
    names = formatting.named(entries).set_axis(entries["entry"])
    datasets = entries.set_index("entry")["dataset"]
    lost = runs[(runs["status"] != "done") & runs["entry"].isin(entries["entry"])]
    for run in lost.sort_values(["dataset", "method", "seed"]).itertuples():
        yield {
            "entry": run.entry,
            "name": f"{datasets[run.entry]} {names[run.entry]}, seed {run.seed}",
            "status": run.status,
            "line": last_line(run.error),
        }


def _notes(board: pd.DataFrame, runs: pd.DataFrame) -> list[dict[str, Any]]:
    """How to read the numbers of each table: the notes of the other formats."""
    return [
        {
            "title": section.title,
            "intro": section.intro,
            "lines": list(dict.fromkeys(note for table in section.tables for note in table.notes)),
        }
        for section in sections(board, runs)
    ]


def _plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Lines of a frame with None for what is missing."""
    values = frame.astype(object)
    lines: list[dict[str, Any]] = values.where(frame.notna(), None).to_dict("records")
    return lines
