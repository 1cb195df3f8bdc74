"""The ladder of a method: what of its gain is left when its teacher is taken away, step by step.

Each rung is the same method under another teacher, or label smoothing, which has none. What a rung
gains over `none` is put beside what the method gains under its best teacher, example by example.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.data.config import Seen
from bench.evaluation.metrics import parse_metric
from bench.evaluation.significance import share_by_user
from bench.records.comparison import NONE, Ranks, Values

SMOOTHING, SHUFFLED, TEACHER = "label smoothing", "a shuffled teacher", "the teacher"

RUNGS = {
    SMOOTHING: "",
    "the student itself": r"self-.+",
    "counting": r"counting-.+",
    SHUFFLED: "",
    "random vectors": r".+-random",
    "texts of other items": r".+-shuffled",
    "texts, nothing learned": r"raw-text|text-neighbours",
    "texts and counting": r"l3ae",
    TEACHER: r".+",
}
"""The rungs from the lowest to the highest, and the names of the teachers that stand on each."""

WITHOUT_KNOWLEDGE = [*RUNGS][:6]
"""Rungs that know nothing beyond the interactions, which the student knows."""

MAKING = {"the student itself", "counting", "random vectors", "texts of other items"}
"""Rungs of which a method needs one to have a ladder: the others stand in tables of their own."""


@dataclass(frozen=True)
class Ladder:
    """One method on one student.

    Attributes:
        method: with its variant.
        teacher: the one under which it is best; its gain is the whole.
        lines: entries from `none` to that teacher, with `rung`, and `share`, `share_low` and
            `share_high` of the whole (1 is all of it; NaN where it is not known).
    """

    method: str
    teacher: str
    lines: pd.DataFrame

    @property
    def closest(self) -> pd.Series | None:
        """Of the lines without knowledge that the student lacks the one that gains the most."""
        lines = self.lines[self.lines["rung"].isin(WITHOUT_KNOWLEDGE)]
        lines = lines[lines["share"].notna()]
        return None if lines.empty else lines.loc[lines["share"].idxmax()]


def ladders(entries: pd.DataFrame, runs: pd.DataFrame) -> list[Ladder]:
    """The ladders of the methods that have one: a teacher, and a rung below it.

    Args:
        entries: of one metric and of one table, compared with `none`.
        runs: the runs behind them.
    """
    if entries.empty or entries["against"].iloc[0] != NONE:
        return []
    trials = entries[(entries["kind"] == "trial") & (entries["n"] > 0) & entries["tag"].isna()]
    trials = trials.assign(
        rung=[*map(_rung, trials["method"], trials["teacher"], trials["control"])]
    )
    made = trials.loc[trials["rung"].isin(MAKING), ["setting", "method"]].drop_duplicates()
    trials = trials[trials["setting"].isin(made["setting"])]  # mostly none has a ladder
    values = _Values(entries, runs)
    return [
        found
        for name, setting in trials.groupby("setting", sort=False)
        for method in setting.loc[setting["rung"] == TEACHER, "method"].unique()
        if method in {*made.loc[made["setting"] == name, "method"]}
        and (found := _ladder(setting, method, values)) is not None
    ]


def _rung(method: str, teacher: object, control: object) -> str | None:
    if method.partition(":")[0] == "label-smoothing":
        return SMOOTHING
    if not isinstance(teacher, str):
        return None
    if isinstance(control, str):
        return SHUFFLED if control == "shuffled" else None
    return next(rung for rung, names in RUNGS.items() if names and re.fullmatch(names, teacher))


def _ladder(setting: pd.DataFrame, method: str, values: _Values) -> Ladder | None:
    mine = setting["method"].eq(method) & setting["rung"].notna()
    teachers = setting[mine & setting["rung"].eq(TEACHER) & setting["mean"].notna()]
    if teachers.empty:
        return None
    top = teachers.loc[teachers["mean"].idxmax()]
    below = (setting["rung"].eq(SMOOTHING) | mine) & (setting["rung"] != TEACHER)
    none = setting[setting["method"] == NONE]
    if none.empty or MAKING.isdisjoint(setting.loc[below, "rung"]):
        return None
    lines = pd.concat([none.head(1), setting[below], teachers])
    order = lines["rung"].map([*RUNGS].index, na_action="ignore").fillna(-1)
    lines = lines.assign(order=order).sort_values(["order", "mean"], kind="stable")
    shares = [values.share(entry, none["entry"].iloc[0], top["entry"]) for entry in lines["entry"]]
    shares[0] = (np.nan,) * 3
    named = pd.DataFrame(shares, lines.index, ["share", "share_low", "share_high"])
    return Ladder(method, str(top["teacher"]), lines.join(named))


class _Values:
    """A metric of entries by example."""

    def __init__(self, entries: pd.DataFrame, runs: pd.DataFrame) -> None:
        self.metric = parse_metric(entries["metric"].iloc[0])
        rules = entries["seen"].dropna()
        self.rule: Seen = rules.iloc[0] if len(rules) else "rank"
        self.ranks = Ranks(runs)
        done = runs[runs["status"] == "done"].set_index("seed")
        self.keys = {entry: keys.to_dict() for entry, keys in done.groupby("entry")["key"]}
        self.data = dict(zip(entries["entry"], entries["data_fingerprint"], strict=True))

    def share(self, entry: str, none: str, top: str) -> tuple[float, float, float]:
        """What an entry gains over `none`, as a share of what the top gains, and its interval."""
        found = [*self._of(entry, none, top)]
        users = self.ranks.users(self.data[entry])
        if len(found) < 3 or users is None or len(users) != len(found[0]):
            return (np.nan,) * 3
        ours, base, best = found
        share = share_by_user(ours - base, best - base, users)
        return (np.nan,) * 3 if share is None else (share.value, share.low, share.high)

    def _of(self, *entries: str) -> Iterator[Values]:
        """The metric by example [R], the mean over the seeds that all entries have."""
        seeds = sorted(set.intersection(*(set(self.keys[entry]) for entry in entries)))
        for entry in entries if seeds else ():
            keys = [self.keys[entry][seed] for seed in seeds]
            values = self.ranks.values(keys, self.metric, self.rule)
            if values is not None:
                yield values.mean(axis=0)
