"""Ladders as tables, with the sentence that each of them says."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.records.comparison import NONE
from bench.records.ladder import RUNGS, WITHOUT_KNOWLEDGE, Ladder, ladders
from bench.reporting import formatting, rules
from bench.reporting.section import Table


def tables(entries: pd.DataFrame, runs: pd.DataFrame) -> list[Table]:
    """A table for each method that was run under controls in the place of its teacher.

    Args:
        entries: of one metric, and of one dataset, protocol and selection rule.
        runs: what they were made of.
    """
    return [_table(ladder) for ladder in ladders(entries, runs)]


def _table(ladder: Ladder) -> Table:
    lines = ladder.lines
    metric = rules.metric_of(lines)
    none = lines["method"] == NONE
    columns = {
        "Rung": lines["rung"].where(~none, "no teacher"),
        "Method": lines["label"],
        "Teacher": formatting.teacher(lines).fillna(formatting.MISSING),
        "Seeds": formatting.seeds(lines),
        metric: formatting.score(lines["mean"], lines["std"]),
        f"vs {NONE}": formatting.gain(lines["gain"]),
        "95 %": _interval(lines["gain_low"], lines["gain_high"], "{:+.1f}"),
        "Share of the gain": formatting.shown(100 * lines["share"], "{:.0f} %".format),
        "95 % of it": _interval(100 * lines["share_low"], 100 * lines["share_high"], "{:.0f}"),
    }
    student = lines["student"].iloc[0]
    return Table(
        f"The ladder of {ladder.method} on {student}: what of its gain needs its teacher",
        pd.DataFrame(columns).set_index(lines["setting"]),
        text_columns=3,
        notes=[
            *_sentences(ladder),
            f"Every rung is {ladder.method} under another teacher, or label smoothing without one. "
            f"Share of the gain: of what {ladder.method} gains under {ladder.teacher}, example by "
            "example on the seeds that both ran; 95 % over users (Fieller), other seeds not in it.",
        ],
    )


def _interval(low: pd.Series[float], high: pd.Series[float], form: str) -> pd.Series[str]:
    """Both ends, such as `-3 to 12`; a dash where one is not known or has no end."""
    known = np.isfinite(low.astype("float64")) & np.isfinite(high.astype("float64"))
    text = formatting.written(low, form.format) + " to " + formatting.written(high, form.format)
    return text.where(known, formatting.MISSING)


def _sentences(ladder: Ladder) -> list[str]:
    """Of the gain so much is matched by each rung, and so much is left beyond the best of them."""
    closest, top = ladder.closest, ladder.lines.iloc[-1]
    if closest is None or not top["gain"] > 0:
        return []
    known = ladder.lines[ladder.lines["share"].notna() & ladder.lines["rung"].isin(RUNGS)]
    best = known.sort_values("share").drop_duplicates("rung", keep="last")
    matched = [
        f"{line.rung} ({_who(line)}) matches "
        f"{_percent(line.share, line.share_low, line.share_high)}"
        for line in best.sort_values("order").itertuples()
        if line.rung in WITHOUT_KNOWLEDGE
    ]
    left = _percent(1 - closest["share"], 1 - closest["share_high"], 1 - closest["share_low"])
    return [
        f"Of {ladder.method}'s gain under {ladder.teacher} ({top['gain']:+.1f} %), "
        f"{', '.join(matched)}; {left} is left beyond the best of these, {closest['rung']}."
    ]


def _who(line: object) -> str:
    teacher = getattr(line, "teacher", None)
    return str(teacher if isinstance(teacher, str) else getattr(line, "method", ""))


def _percent(value: float, low: float, high: float) -> str:
    if not np.isfinite([low, high]).all():
        return f"{100 * value:.0f} %"
    return f"{100 * value:.0f} % ({100 * low:.0f} to {100 * high:.0f})"
