"""The rule for items that users had before, in what people read."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from bench.data.config import Seen
from bench.evaluation.metrics import parse_metric
from bench.records.leaderboard import OTHER, TABLE

_SUFFIX: dict[Seen, str] = {"rank": "", "mask": " seen out"}

CHOSEN: dict[Seen, str] = {
    "rank": "ranked over the full catalogue; epochs chosen on validation",
    "mask": "ranked over the catalogue without the items that the user had before (seen out); "
    "epochs chosen by the same rule on validation",
}

NAME: dict[Seen, str] = {"rank": "all items ranked", "mask": "seen items left out"}

_VALUES = ["mean", "std", "gain"]
_OTHERS = [f"other_{name}" for name in _VALUES]


def tables(board: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The lines that are compared with each other: of one data and selection, and of one rule.

    Baselines and teachers, which have no rule, stand beside the trials of each.
    """
    for _, group in board.groupby(TABLE, sort=False):
        known = set(group["seen"].dropna())
        rules: list[Seen] = [rule for rule in OTHER if rule in known] or ["rank"]
        for rule in rules:
            yield under(group[group["seen"].isna() | group["seen"].eq(rule)], rule)


def settled(board: pd.DataFrame) -> pd.DataFrame:
    """A board whose baselines and teachers are read under the rule of the trials beside them.

    Beside trials of both rules they are read under that of the first.
    """
    lines = list(tables(board))
    return pd.concat(lines).drop_duplicates(["entry", "metric"]) if lines else board


def under(board: pd.DataFrame, rule: Seen) -> pd.DataFrame:
    """Lines of trials of one rule; those of baselines and teachers are read under it as well."""
    if rule == "rank":
        return board.assign(seen=rule)
    parts = []
    for _, lines in board.groupby("metric", sort=False):
        turned = other(lines[lines["seen"].isna()])
        by = turned.assign(last=turned["teacher"].notna(), score=-turned["mean"].fillna(-1.0))
        parts.append(turned.loc[by.sort_values(["last", "score"], kind="stable").index])
        parts.append(lines[lines["seen"].notna()])
    return pd.concat(parts).assign(seen=rule)


def other(board: pd.DataFrame) -> pd.DataFrame:
    """The same lines with what holds under the other rule in front; tests are of their own rule."""
    turned = board.rename(columns=dict(zip(_VALUES + _OTHERS, _OTHERS + _VALUES, strict=True)))
    return turned.assign(significant=False)[[*board.columns]]


def differ(entries: pd.DataFrame) -> bool:
    """Whether the rules differ in any digit that is shown."""
    mean, others = (entries[name].round(4) for name in ("mean", "other_mean"))
    return bool((mean.ne(others) & others.notna() & mean.notna()).any())


def rule_of(entries: pd.DataFrame) -> Seen:
    """The rule of lines that are compared with each other."""
    rules = entries["seen"].dropna()
    return rules.iloc[0] if len(rules) else "rank"


def measured(metric: str, rule: Seen) -> str:
    """A metric as tables name it: `NDCG@20`, or `NDCG@20 seen out`."""
    return parse_metric(metric).label + _SUFFIX[rule]


def against(method: str, rule: Seen) -> str:
    """The heading of gains."""
    return f"vs {method}{_SUFFIX[rule]}"


def metric_of(entries: pd.DataFrame) -> str:
    """The metric of lines that are compared, as tables name it."""
    return measured(entries["metric"].iloc[0], rule_of(entries))


def other_rule(entries: pd.DataFrame) -> Seen:
    """The rule that is not that of the lines."""
    return OTHER[rule_of(entries)]
