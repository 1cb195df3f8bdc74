"""Runs to a leaderboard: a DataFrame with one line per entry, compared with `none` or another.

An entry is what differs in nothing but the seed: runs of older code, teachers or data never blend
into newer ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench import plan
from bench.data.config import Seen
from bench.errors import ConfigError, UnknownNameError
from bench.evaluation.metrics import MASKED, Metric, parse_metric
from bench.records.comparison import (
    NONE,
    SIGNIFICANT,
    Ranks,
    corrected,
    gains,
    gap_closed,
    opponents,
    paired,
    tests,
    times,
)
from bench.records.frame import TEXT

TABLE = ["dataset", "protocol", "data_fingerprint", "selection"]
"""Entries are comparable only within one of these."""

READS_AS = [*TABLE, "seen", "student", "objective", "label", "teacher", "control"]
"""What distinguishes entries without a tag."""

COLUMNS = [
    *("dataset", "protocol", "student", "objective", "method", "teacher", "control", "label"),
    *("metric", "n", "mean", "std", "against", "gain", "gain_low", "gain_high", "p", "p_holm"),
    *("significant", "gap_closed", "seen", "other_mean", "other_std", "other_gain"),
    *("difference", "low", "high", "p_users", "p_seeds", "users"),
    *("seeds_known", "seeds", "compared_seeds", "failed", "epochs", "epoch_seconds"),
    *("train_seconds", "epoch_vs_none", "train_vs_none", "parameters", "train_parameters"),
    *(
        "latency_ms",
        "latency_ms_p95",
        "timed_on",
        "devices",
        "kind",
        "variant",
        "overrides",
        "selection",
    ),
    *("examples", "tag", "is_current", "is_outdated", "created", "data_fingerprint"),
    *("teacher_fingerprint", "setting", "entry", "counterpart"),
]
"""Columns of every leaderboard, in their order; docs/python.md says what they hold."""

_OF_ALL_SEEDS = [
    *("kind", "dataset", "protocol", "student", "objective", "method", "variant", "teacher"),
    *("control", "selection", "seen", "examples", "parameters", "train_parameters", "is_current"),
    *("results_version", "data_fingerprint", "teacher_fingerprint", "setting", "counterpart"),
]
"""What all runs of an entry have in common."""

_COMPARED = [
    *("entry", "seed", "key", "kind", "setting", "control", "teacher"),
    *("data_fingerprint", "teacher_fingerprint", "rule"),
    *("epochs", "epoch_seconds", "train_seconds", "timed_on"),
]
"""What comparisons read of a run, beside its metrics."""

OTHER: dict[Seen, Seen] = {"rank": "mask", "mask": "rank"}
"""The other rule for items that users had before."""

_RULES: dict[str, Seen] = {"test": "rank", f"test-{MASKED}": "mask"}
"""By split, the rule under which all runs are read."""

_TIMES = ["train_seconds", "epoch_seconds", "latency_ms", "latency_ms_p95"]


def leaderboard(
    runs: pd.DataFrame,
    metric: str | Sequence[str] = "ndcg@20",
    against: str = NONE,
    *,
    split: str | None = None,
) -> pd.DataFrame:
    """Mean, spread, gain and test of every entry.

    Args:
        runs: as `bench.results` returns them, or any of its lines. Entries are compared, and
            p-values corrected, within these.
        metric: `hr@K`, `ndcg@K` or `mrr@K`, with any K on the test split. Of several, each entry
            has one line per metric; the first decides their order.
        against: the method to compare with, its variant included.
        split: by default test, ranked under the rule for items seen before that the setting has
            (`seen`); of baselines and teachers all items. `test` and `test-masked` are one of the
            rules for all. Or another split of the records such as `valid`, or a segment of test
            such as `cold`: without tests and the share of the teacher's lead.

    Returns:
        `COLUMNS`, by dataset and protocol: baselines and teachers, then by setting `none` and the
        methods, best first.

    Raises:
        ConfigError: an unknown metric, or one that no run has on this split, or no run of the
            method to compare with.
    """
    metrics = [parse_metric(name) for name in ([metric] if isinstance(metric, str) else metric)]
    _check_opponent(runs, against)
    runs, ranks = newest(runs), Ranks(runs)
    done = runs[runs["status"] == "done"]
    board = _entries(runs, done)
    done = done.assign(rule=_RULES.get(split or "", done["seen"].fillna("rank")))
    on_test = split is None or split in _RULES
    values = {}
    for each in metrics:
        if on_test:
            values[str(each)] = _on_test(done, each, done["rule"], ranks)
            values[_other(each)] = _on_test(done, each, done["rule"].map(OTHER), ranks)
        else:
            values[str(each)] = _measured(done, each, str(split))
    done = done[_COMPARED].assign(**values)
    beside = paired(done, opponents(board, against))
    beside_none = beside if against == NONE else paired(done, opponents(board, NONE))
    board = board.join(times(beside_none))
    board["against"], board["compared_seeds"] = against, _listed(beside)
    tested = beside
    if not on_test:
        beside_none, tested = beside_none[:0], beside[:0]
    p_values, closed = tests(tested, metrics, ranks), gap_closed(beside_none, done, metrics, ranks)
    parts = []
    for each in metrics:
        part = board.assign(
            metric=str(each), other_mean=np.nan, other_std=np.nan, other_gain=np.nan
        )
        part = part.join(_spread(done, str(each))).join(gains(beside, str(each)))
        if on_test:
            under_other = _spread(done, _other(each)).join(gains(beside, _other(each)))
            part.update(under_other[["mean", "std", "gain"]].add_prefix("other_"))
        parts.append(_concluded(part.join(p_values[each]).join(closed[each])))
    order = _order(parts[0])
    return pd.concat([part.loc[order] for part in parts]).reset_index()[COLUMNS]


def _concluded(board: pd.DataFrame) -> pd.DataFrame:
    """The entries of one metric with what follows from their tests."""
    p_holm = corrected(board)
    return board.assign(
        gain_low=100 * board["low"] / board["base"],
        gain_high=100 * board["high"] / board["base"],
        p_holm=p_holm,
        significant=board["seeds_known"].fillna(False).astype(bool) & (p_holm < SIGNIFICANT),
    )


def newest(runs: pd.DataFrame) -> pd.DataFrame:
    """One run of each entry and seed, the newest, in their order."""
    last = runs.sort_values("created").drop_duplicates(["entry", "seed"], keep="last")
    return last.sort_values(["entry", "seed"])


def _check_opponent(runs: pd.DataFrame, against: str) -> None:
    """Reject a method that no run is of; of no runs at all, whatever is named is right."""
    plain = runs[(runs["kind"] == "trial") & (runs["status"] == "done") & runs["control"].isna()]
    known = {NONE, *plain["method"]}
    if len(runs) and against not in known:
        raise UnknownNameError("method to compare with", against, known, "these records")


def _on_test(
    done: pd.DataFrame, metric: Metric, rules: pd.Series[Any], ranks: Ranks
) -> pd.Series[float]:
    """A metric of runs on test, each under its rule, as records hold it or from the ranks."""
    values = pd.Series(np.nan, index=done.index)
    for rule, name in (("rank", str(metric)), ("mask", f"test-{MASKED}/{metric}")):
        found = done.get(name, values)
        values = values.where(rules != rule, found)
    lost = values.isna()
    read = [
        ranks.mean(key, metric, rule)
        for key, rule in zip(done["key"][lost], rules[lost], strict=True)
    ]
    values[lost] = np.array(read, dtype=np.float64)
    return values


def _measured(done: pd.DataFrame, metric: Metric, split: str) -> pd.Series[float]:
    """A metric of runs on a split or segment, as their records hold it.

    Raises:
        ConfigError: none does.
    """
    name = f"{split}/{metric}"
    values = done[name] if name in done else pd.Series(np.nan, index=done.index)
    if len(done) and values.isna().all():
        raise ConfigError(f"no run has '{name}': no such split or segment, or another metric")
    return values.astype("float64")


def _other(metric: Metric) -> str:
    """The column of a metric under the other rule for items seen before."""
    return f"other {metric}"


def _entries(runs: pd.DataFrame, done: pd.DataFrame) -> pd.DataFrame:
    """What entries are and cost, by entry; `done` are those of the runs that have a result."""
    # What one run overrode may be what another finds configured: the plainer name is the entry's.
    plainest = runs.assign(changes=runs["overrides"].map(len), failed=runs["status"] != "done")
    plainest = plainest.sort_values(["failed", "changes", "seed"], kind="stable")
    plainest = plainest.drop_duplicates("entry").set_index("entry")
    board = plainest[[*_OF_ALL_SEEDS, "changes"]].join(_times(done))
    board["overrides"] = plainest["overrides"].map(_written).astype(TEXT)
    labels = [*map(_label, plainest["method"], plainest["overrides"])]
    board["label"] = pd.Series(labels, board.index, TEXT)
    by_entry = runs.groupby("entry")
    board["created"] = by_entry["created"].max()
    board["n"] = done.groupby("entry").size().reindex(board.index, fill_value=0)
    board["failed"] = by_entry.size() - board["n"]
    board["devices"] = _devices(done).reindex(board.index, fill_value="")
    board["seeds"] = _listed(done).reindex(board.index, fill_value="")
    board["epochs"] = done["epochs"].astype("float64").groupby(done["entry"]).mean()
    return _tagged(board)


def _times(done: pd.DataFrame) -> pd.DataFrame:
    """Mean times of the machine that most runs of an entry ran on, by entry.

    Times of several machines have no mean.
    """
    machine = done["timed_on"].fillna("")
    count = machine.groupby([done["entry"], machine]).transform("size")
    most = done.assign(count=count).sort_values("count", ascending=False, kind="stable")
    most = most.drop_duplicates("entry").set_index("entry")["timed_on"]
    measured = done[machine == done["entry"].map(most).fillna("")]
    return measured.groupby("entry")[_TIMES].mean().join(most)


def _tagged(board: pd.DataFrame) -> pd.DataFrame:
    """The entries, with tags for those that read the same and those of another suite.

    Of entries that read the same the newest one with a result alone stays `is_current`.
    """
    board["is_outdated"] = ~board["results_version"].eq(plan.RESULTS_VERSION).fillna(False)
    board["is_outdated"] = board["is_outdated"].astype(bool)
    by_age = board.assign(done=board["n"] > 0).sort_values(["is_current", "done", "created"])
    board["is_current"] &= ~by_age.duplicated(READS_AS, keep="last").reindex(board.index)
    tagged = board["is_outdated"] | board.duplicated(READS_AS, keep=False)
    board["tag"] = board.index.to_series().str[:6].where(tagged)
    board["label"] += (" #" + board["tag"]).fillna("")
    return board


def _written(overrides: Mapping[str, object]) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(overrides.items()))


def _label(method: str, overrides: Mapping[str, object]) -> str:
    """The method with what was changed of its settings."""
    changes = [f"{k.removeprefix('method.')}={v}" for k, v in sorted(overrides.items())]
    return f"{method} [{', '.join(changes)}]" if changes else method


def _listed(runs: pd.DataFrame) -> pd.Series[str]:
    """The seeds of runs, such as `0 1 2`, by entry."""
    seeds = runs["seed"].dropna().astype(str)
    return seeds.groupby(runs["entry"]).agg(" ".join)


def _devices(done: pd.DataFrame) -> pd.Series[str]:
    """The different devices of runs, such as `NVIDIA A100 + NVIDIA H100`, by entry."""
    # Records of some time ago do not tell the processors of one name apart.
    names = done["device_name"].dropna().astype(str).str.replace(r" \(family.*", "", regex=True)
    return names.groupby(done["entry"]).agg(lambda group: " + ".join(sorted(set(group))))


def _spread(done: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Mean and sample deviation over seeds; that of one is not known."""
    values = done.groupby("entry")[metric]
    return pd.DataFrame({"mean": values.mean(), "std": values.std()})


def _order(board: pd.DataFrame) -> pd.Index[str]:
    """Entries in the order of a leaderboard."""
    trial, teacher = board["kind"] == "trial", board["teacher"].fillna("")
    last = np.where(trial, board["method"] != NONE, teacher != "")
    keys = {
        "oracle": board["selection"] != "validation",
        "trial": trial,
        "last": last,
        "score": -board["mean"].fillna(-1.0),
        "name": board["label"].where(trial | (teacher == ""), teacher),
    }
    by = ["dataset", "protocol", "oracle", "data_fingerprint", "trial"]
    by += ["student", "objective", "setting", "last", "score", "name", "teacher"]
    return board.assign(**keys).sort_values(by).index
