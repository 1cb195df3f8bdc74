"""Paired comparisons: entries of a leaderboard beside others, seed by seed and example by example.

What is compared is one table: `paired` puts each run of an entry beside the run of the same seed
of its opponent. Gains and times are means over it; tests read the ranks that its keys name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.data.config import Seen
from bench.data.examples import Ids
from bench.errors import DataError
from bench.evaluation.metrics import RANKED_PLACES, Metric
from bench.evaluation.significance import (
    SeedSpread,
    UserDifference,
    compare_by_seed,
    compare_by_user,
    difference_by_user,
    holm,
    seed_spread,
)
from bench.records.store import ResultStore

Values = NDArray[np.float64]

NONE = "none"
"""The method without a teacher, which others are compared with by default."""

SIGNIFICANT = 0.05
"""The corrected p below which a difference has a star."""

KEPT = 64
"""Runs whose ranks are kept in memory: those of an opponent are needed again and again."""

CLEAR_LEAD = 1e-4
"""A teacher's lead of a larger p-value is no denominator: what is divided by it could be anything.
About four standard errors."""

_PREFERRED = {"is_current": True, "changes": False, "created": True}
"""Of several opponents the last in this order; True is ascending."""

_TESTS = {
    **dict.fromkeys(("difference", "low", "high", "p", "p_users", "p_seeds"), "float64"),
    "users": "Int64",
    "seeds_known": "boolean",
}
"""What a test says, and its dtypes; `leaderboard` documents them."""


class Ranks:
    """Ranks and users of runs, from the results folders that the runs name."""

    def __init__(self, runs: pd.DataFrame) -> None:
        self._stores = [ResultStore(Path(folder)) for folder in runs["folder"].dropna().unique()]
        self._places = {
            key: settings[RANKED_PLACES]
            for key, kind, settings in zip(runs["key"], runs["kind"], runs["settings"], strict=True)
            if kind != "trial" and RANKED_PLACES in settings  # names of methods' own
        }
        self.of = lru_cache(KEPT)(self._of)
        self.of_opponent = lru_cache(KEPT // 4)(self.values)
        self.users = cache(self._users)

    def _of(self, key: str, seen: Seen) -> Ids | None:
        """Ranks of a run under a rule for items seen before, int32 [R_test]; or None."""
        for store in self._stores:
            try:
                return store.ranks(key, seen)
            except DataError:
                continue
        return None

    def _users(self, data_fingerprint: str) -> Ids | None:
        """Users of the test examples, int32 [R_test], or None where they are not known."""
        found = (store.users(data_fingerprint) for store in self._stores)
        users = next((users for users in found if users is not None), None)
        # Numbered from 0: tests count up to the largest.
        return None if users is None else np.unique(users, return_inverse=True)[1].astype(np.int32)

    def _telling(self, key: str, metric: Metric, seen: Seen) -> Ids | None:
        """The ranks of a run, where they hold as many places as a metric asks for."""
        known = metric.cutoff <= self._places.get(key, metric.cutoff)
        return self.of(key, seen) if known else None

    def mean(self, key: str, metric: Metric, seen: Seen) -> float | None:
        """A metric of the test split, or None where there are no ranks, or too few places."""
        ranks = self._telling(key, metric, seen)
        return None if ranks is None else float(metric.looked_up(ranks).mean())

    def values(self, keys: Sequence[str], metric: Metric, seen: Seen) -> Values | None:
        """A metric by example, [S, R] for S runs; None where ranks are missing or differ in R."""
        found = [self._telling(key, metric, seen) for key in keys]
        known = [metric.looked_up(ranks) for ranks in found if ranks is not None]
        complete = len(known) == len(found) and len({len(part) for part in known}) == 1
        return np.stack(known) if complete else None


def opponents(board: pd.DataFrame, against: str) -> pd.Series[str]:
    """The entry that each entry is compared with, where there is one, by entry.

    An opponent is of the same setting and has a seed of the entry; it has the same teacher, never
    a control: a control is compared with the teacher that it is made of. An entry without a
    teacher is compared where there is no choice of teachers. Of several versions and settings it
    is today's code first, then what overrides least, then the newest.

    Args:
        board: entries, by entry.
        against: the method of the opponents, its variant included. Where that is `none`, no entry
            of `none` is compared.
    """
    trials = board[board["kind"] == "trial"].reset_index()
    ours = trials[trials["method"] != NONE] if against == NONE else trials
    theirs = trials[trials["method"].eq(against) & trials["control"].isna()]
    fields, ranked = ["setting", "entry", "seeds", "teacher_fingerprint"], [*_PREFERRED]
    pairs = ours[fields].merge(theirs[fields + ranked], on="setting", suffixes=("", "_other"))
    shared = [
        not set(seeds.split()).isdisjoint(others.split())
        for seeds, others in zip(pairs["seeds"], pairs["seeds_other"], strict=True)
    ]
    teacher, other = pairs["teacher_fingerprint"], pairs["teacher_fingerprint_other"]
    pairs = pairs[np.array(shared, bool) & (teacher.isna() | other.isna() | teacher.eq(other))]
    choice = pairs["teacher_fingerprint_other"].fillna("").groupby(pairs["entry"])
    pairs = pairs[choice.transform("nunique") == 1]
    best = pairs.sort_values(ranked, ascending=[*_PREFERRED.values()])
    best = best.drop_duplicates("entry", keep="last").set_index("entry")["entry_other"]
    return best[best != best.index].rename("other")


def paired(done: pd.DataFrame, others: pd.Series[str]) -> pd.DataFrame:
    """Runs beside those of the opponent with the same seed, whose columns end in `_other`.

    Args:
        done: finished runs, sorted by entry and seed.
        others: opponents by entry.
    """
    ours = done.merge(others, left_on="entry", right_index=True)
    return ours.merge(
        done, left_on=["other", "seed"], right_on=["entry", "seed"], suffixes=("", "_other")
    )


def gains(beside: pd.DataFrame, metric: str) -> pd.DataFrame:
    """By entry the opponent's mean over shared seeds, `base`, and the `gain` on it in percent.

    Args:
        beside: runs beside those of the opponents.
        metric: a column of both.
    """
    means = beside.groupby("entry")[[metric, f"{metric}_other"]].mean()
    base = means[f"{metric}_other"].where(means[f"{metric}_other"] > 0)
    return pd.DataFrame({"base": base, "gain": 100 * (means[metric] / base - 1)})


def tests(
    beside: pd.DataFrame, metrics: Sequence[Metric], ranks: Ranks
) -> dict[Metric, pd.DataFrame]:
    """The paired test of each entry against its opponent, by metric and entry.

    The spread between seeds is that of all entries of the setting that are compared.
    """
    differences: dict[tuple[Metric, str], list[list[float]]] = defaultdict(list)
    pairs: dict[Metric, dict[str, _Pair]] = {metric: {} for metric in metrics}
    for pair, metric, ours, theirs, users in _by_example(beside, metrics, ranks):
        by_seed = ours.mean(axis=1), theirs.mean(axis=1)
        differences[metric, pair.setting].append((by_seed[0] - by_seed[1]).tolist())
        if users is not None and users.shape == ours.shape[1:]:
            of_seeds = compare_by_seed(*by_seed)
            pairs[metric][pair.Index] = _Pair(
                pair.setting,
                difference_by_user(ours, theirs, users),
                of_seeds.p if of_seeds else None,
            )
    spreads = {key: seed_spread(values) for key, values in differences.items()}
    found = {
        metric: {
            entry: pair.tested(spreads[metric, pair.setting])
            for entry, pair in pairs[metric].items()
        }
        for metric in metrics
    }
    return {
        metric: pd.DataFrame.from_dict(of, orient="index", columns=[*_TESTS]).astype(_TESTS)
        for metric, of in found.items()
    }


def _by_example(
    beside: pd.DataFrame, metrics: Sequence[Metric], ranks: Ranks
) -> Iterator[tuple[Any, Metric, Values, Values, Ids | None]]:
    """Entries with the keys of their runs, a metric of both by example [S, R], and users [R].

    The metrics of an entry follow each other: its ranks are read once.
    """
    by_entry = beside.groupby("entry")
    pairs = by_entry[["setting", "data_fingerprint", "rule"]].first()
    for pair in pairs.join(by_entry[["key", "key_other"]].agg(list)).itertuples():
        for metric in metrics:
            ours = ranks.values(pair.key, metric, pair.rule)
            theirs = ranks.of_opponent(tuple(pair.key_other), metric, pair.rule)
            if ours is not None and theirs is not None and ours.shape == theirs.shape:
                yield pair, metric, ours, theirs, ranks.users(pair.data_fingerprint)


@dataclass(frozen=True)
class _Pair:
    """What is known of an entry and its opponent once their ranks have been read."""

    setting: str
    of_users: UserDifference | None
    p_seeds: float | None

    def tested(self, spread: SeedSpread | None) -> tuple[float | None, ...]:
        """The values of `_TESTS`."""
        if self.of_users is None:
            return (None,) * len(_TESTS)
        test, p_users = self.of_users.compared(spread), self.of_users.compared().p
        found = (test.difference, test.low, test.high, test.p, p_users)
        return (*found, self.p_seeds, self.of_users.degrees + 1, spread is not None)


def corrected(board: pd.DataFrame) -> pd.Series[float]:
    """Holm-corrected p of entries.

    The methods of a setting are a family, their controls another, and what newer code has replaced
    a third: what is run beside does not change what is said of a method.
    """
    family = [board["setting"], board["control"].isna(), board["is_current"]]
    return board["p"].groupby(family).transform(holm)


def gap_closed(
    beside: pd.DataFrame, done: pd.DataFrame, metrics: Sequence[Metric], ranks: Ranks
) -> dict[Metric, pd.Series[float]]:
    """Share of the teacher's lead over `none` that entries gain, in percent, by metric and entry.

    Args:
        beside: runs beside those of `none`.
        done: finished runs, those of the teachers' own rankings among them.
        metrics: what the lead is in.
        ranks: of all of them.

    Returns:
        Of entries whose teacher is clearly ahead of `none`; controls are left out.
    """
    known = ["data_fingerprint", "teacher_fingerprint"]
    teachers = done[done["kind"] == "teacher"].drop_duplicates(known, keep="last")
    taught = beside[beside["control"].isna() & beside["teacher"].notna()]
    taught = taught.merge(teachers[[*known, "key"]], on=known, suffixes=("", "_teacher"))
    key_of = taught.drop_duplicates("entry").set_index("entry")["key_teacher"]
    # All methods that learn from one teacher are held against the same lead.
    lead_of = cache(partial(_lead, ranks=ranks))
    closed: dict[Metric, dict[str, float]] = {metric: {} for metric in metrics}
    for pair, metric, ours, theirs, _ in _by_example(taught, metrics, ranks):
        of_teacher = key_of[pair.Index], tuple(pair.key_other)
        lead = lead_of(*of_teacher, metric, pair.rule, pair.data_fingerprint)
        if lead is not None:
            gain = float(ours.mean()) - float(theirs.mean())
            closed[metric][pair.Index] = 100 * gain / lead
    return {
        metric: pd.Series(of, dtype="float64", name="gap_closed") for metric, of in closed.items()
    }


def _lead(
    teacher: str, none: tuple[str, ...], metric: Metric, seen: Seen, data: str, ranks: Ranks
) -> float | None:
    """How far a teacher's own ranking is ahead of runs of `none`; None where it is not, clearly."""
    own = ranks.values([teacher] * len(none), metric, seen)
    theirs, users = ranks.of_opponent(none, metric, seen), ranks.users(data)
    if own is None or theirs is None or users is None or own.shape != theirs.shape:
        return None
    lead = compare_by_user(own, theirs, users)
    return lead.difference if lead and lead.difference > 0 and lead.p < CLEAR_LEAD else None


def times(beside: pd.DataFrame) -> pd.DataFrame:
    """Training against that of `none`, over the seeds that both ran on one machine, by entry.

    Args:
        beside: runs beside those of `none`.

    Returns:
        `epoch_vs_none` and `train_vs_none`: ratios of seconds, by epoch and of all epochs.
    """
    timed = beside["epoch_seconds"].notna() & beside["epoch_seconds_other"].notna()
    comparable = beside["timed_on"] == beside["timed_on_other"]
    fields = ["train_seconds", "epochs", "train_seconds_other", "epochs_other"]
    sums = beside[timed & comparable].groupby("entry")[fields].sum().astype("float64")
    total = sums["train_seconds"] / sums["train_seconds_other"]
    epoch = total * sums["epochs_other"] / sums["epochs"]
    return pd.DataFrame({"epoch_vs_none": epoch, "train_vs_none": total})
