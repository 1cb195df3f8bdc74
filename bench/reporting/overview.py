"""All settings in one table: what every method gains in each of them."""

from __future__ import annotations

import pandas as pd

from bench.evaluation.metrics import parse_metric
from bench.records.comparison import NONE
from bench.records.leaderboard import TABLE
from bench.reporting import formatting, rules
from bench.reporting.section import Section, Table

_LABELS = (
    ["dataset", "student"],
    ["dataset", "protocol", "student"],
    ["dataset", "student", "objective"],
    ["dataset", "protocol", "student", "objective", "data", "digest"],
)
"""Fields that name a setting, the plainest first; its rule is added where settings differ in it."""


def overview(entries: pd.DataFrame, *, other: bool = False) -> Section | None:
    """The gains of all entries as configured, a column for each setting; None of fewer than two.

    Args:
        entries: of one metric. Left out are those with overrides, those chosen on the test split,
            and older ones than another that reads the same.
        other: ranked under the other rule for items seen before than epochs were chosen by; None
            where that changes nothing.
    """
    if other:
        if not rules.differ(entries):
            return None
        entries = rules.other(entries)
    entries = configured(entries)
    trials = entries[(entries["kind"] == "trial") & (entries["n"] > 0)]
    columns = _columns(trials[trials["gain"].notna()])
    if len(columns) < 2:
        return None
    control = trials["control"].notna()
    compared = [_references(entries, columns), _methods(trials[~control], columns)]
    controls = [_methods(trials[control], columns)]
    tables = [
        Table(caption, pd.concat(blocks, keys=range(len(blocks))).droplevel(1), text_columns=2)
        for caption, blocks in (("", compared), ("Under controls of the teacher", controls))
    ]
    title = "Overview under the other rule for items seen before" if other else "Overview"
    intro = _intro(entries, other=other)
    return Section(title, intro, [table for table in tables if len(table.frame)])


def configured(entries: pd.DataFrame) -> pd.DataFrame:
    """Entries without overrides, of today where another reads the same, not chosen on test."""
    newest = ~entries["is_outdated"] & (entries["is_current"] | entries["tag"].isna())
    honest, plain = entries["selection"] == "validation", entries["overrides"] == ""
    return entries[newest & honest & plain]


def reference_gains(entries: pd.DataFrame) -> pd.DataFrame:
    """Baselines and teachers beside the `none` of each setting of their data.

    Args:
        entries: of one metric, of any datasets.

    Returns:
        The entries of baselines and teachers, once for each setting, with its `setting` and the
        `gain` over the mean of `none` in percent, and the `other_gain` under the other rule for
        items seen before. Empty where `none` is not compared with.
    """
    none = entries[(entries["method"] == NONE) & (entries["against"] == NONE)]
    none = none.drop_duplicates("setting")[[*TABLE, "setting", "seen", "mean", "other_mean"]]
    references = entries[entries["kind"] != "trial"].drop(columns="gain")
    references = references.rename(columns={"setting": "own"})  # of what is made of trials
    beside = references.merge(none, on=TABLE, suffixes=("", "_none"))
    beside = beside[beside["own"].isna() | beside["own"].eq(beside["setting"])]
    # One without a rule ranks all items first.
    turned = beside["seen"].fillna("rank") != beside["seen_none"]
    own, other = beside["mean"], beside["other_mean"]
    beside = beside.assign(mean=own.where(~turned, other), other_mean=other.where(~turned, own))
    base, other_base = (
        beside[name].where(beside[name] > 0) for name in ("mean_none", "other_mean_none")
    )
    return beside.assign(
        gain=100 * (beside["mean"] / base - 1),
        other_gain=100 * (beside["other_mean"] / other_base - 1),
    )


def _intro(entries: pd.DataFrame, *, other: bool) -> str:
    metric, against = parse_metric(entries["metric"].iloc[0]).label, entries["against"].iloc[0]
    alone = NONE if against == NONE else "an entry that has no such counterpart"
    return (
        f"Gain in {metric} over {against} (of {alone} {metric} itself), by dataset and student; "
        f"methods of most columns first, then by their mean. {_ranked(entries, other=other)}"
        + (
            ""
            if other
            else "*: other users and other seeds would show it. Seeds, p, segments and costs stand "
            "below."
        )
    )


def _ranked(entries: pd.DataFrame, *, other: bool) -> str:
    """What is ranked, where it is not all items in all settings."""
    seen = {*entries["seen"].dropna()}
    if other:
        what = {"rank": "left out", "mask": "ranked again"}
        told = what[seen.pop()] if len(seen) == 1 else "ranked the other way"
        return f"The same trials, with the items that users had before {told}. "
    if seen == {"mask"}:
        return "Items that the user had before are left out. "
    if "mask" in seen:
        return "Items that the user had before are left out where a column says `seen out`. "
    return ""


def _columns(entries: pd.DataFrame) -> dict[str, str]:
    """The settings of entries, each with the shortest name that tells it apart."""
    settings = entries.drop_duplicates("setting").set_index("setting", drop=False)
    digests = {"data": settings["data_fingerprint"].str[:8], "digest": settings["setting"].str[:8]}
    differ = settings["seen"].nunique() > 1
    rule = settings["seen"].map({"mask": "seen out"}).fillna("") if differ else ""
    named = settings.assign(**digests, rule=rule)
    for fields in _LABELS:
        names = [" ".join(filter(None, line)) for line in named[[*fields, "rule"]].to_numpy()]
        if len(set(names)) == len(names):
            break
    return dict(zip(named.index, names, strict=True))


def _references(entries: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    found = reference_gains(entries)
    return _pivoted(found.assign(text=formatting.gain(found["gain"])), columns)


def _methods(entries: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    """What is compared with, and then the methods: those of most settings, and the best, first."""
    entries = entries[entries["setting"].isin(columns)]
    gain, score = entries["gain"], formatting.score(entries["mean"], entries["std"])
    text = formatting.gain(gain) + formatting.star(entries)
    by_line = gain.groupby([entries["method"], formatting.teacher(entries)], dropna=False)
    order = {
        "compared": by_line.transform("count") > 0,
        "settings": -by_line.transform("size"),
        "mean": -by_line.transform("mean"),
    }
    entries = entries.assign(text=text.where(gain.notna(), score), **order)
    return _pivoted(entries.sort_values([*order], kind="stable"), columns)


def _pivoted(entries: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    """One line per method and teacher in their order, one column per setting."""
    teacher = formatting.teacher(entries).fillna(formatting.MISSING)
    lines = entries.assign(Method=entries["method"], Teacher=teacher)
    order = pd.MultiIndex.from_frame(lines[["Method", "Teacher"]].drop_duplicates())
    table = lines.pivot(index=["Method", "Teacher"], columns="setting", values="text")
    table = table.reindex(index=order, columns=[*columns]).astype(object).fillna(formatting.MISSING)
    return table.rename(columns=columns).rename_axis(columns=None).reset_index()
