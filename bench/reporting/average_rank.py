"""Methods over several datasets: average ranks, and how far apart they must be.

Janez Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7, 2006: the
k methods are ranked within each of N datasets, 1 the best and ties shared; two of them differ where
their average ranks are further apart than Nemenyi's critical difference

    CD = q sqrt(k (k + 1) / (6 N)),

q the upper 5 % of the studentised range of k over sqrt(2). A dataset is one observation, whatever
the number of its examples and seeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.data.config import Seen
from bench.evaluation.metrics import parse_metric
from bench.records.comparison import SIGNIFICANT
from bench.reporting import formatting, rules
from bench.reporting.overview import configured
from bench.reporting.section import Section, Table

_LINE = ["method", "teacher"]
_OF_ALL = ["student", "objective", "seen"]
"""What datasets must share to be put together."""


@dataclass(frozen=True)
class AverageRanks:
    """Methods that ran on all of several datasets with one student.

    Attributes:
        student: whose methods they are.
        objective: of the student.
        seen: the rule for items seen before by which they are ranked.
        ranks: [k, N], by method and teacher, a column for each dataset; in the order of the mean.
        critical: the critical difference.
        p: of Friedman's test that all methods are alike.
    """

    student: str
    objective: str
    seen: Seen
    ranks: pd.DataFrame
    critical: float
    p: float

    @property
    def name(self) -> str:
        """What the datasets have in common, in words."""
        return f"{self.student} ({self.objective}), {rules.NAME[self.seen]}"

    @property
    def mean(self) -> pd.Series[float]:
        """The average rank of each method, [k]."""
        return self.ranks.mean(axis=1)

    @property
    def told_apart(self) -> pd.Series[bool]:
        """Whether the first method can be told from each, [k]."""
        return self.mean - self.mean.iloc[0] > self.critical

    @property
    def note(self) -> str:
        """How to read the ranks."""
        p = "< 0.001" if self.p < 0.001 else f"= {self.p:.3f}"
        return (
            f"Critical difference (Nemenyi, 5 %): {self.critical:.2f}. Average ranks that are "
            "nearer than this cannot be told apart; *: the first can be told from it. Friedman's "
            f"test of all methods being alike: p {p}, over {len(self.ranks.columns)} datasets."
        )


def average_ranks(entries: pd.DataFrame) -> Iterator[AverageRanks]:
    """Of each student, objective and rule with two datasets or more, and two methods or more.

    Args:
        entries: of one metric. Methods that lack one of the datasets are left out: ranks are of
            complete tables alone.
    """
    trials = configured(entries)
    trials = trials[(trials["kind"] == "trial") & (trials["n"] > 0) & trials["control"].isna()]
    trials = trials.assign(teacher=trials["teacher"].fillna(""))
    for (student, objective, seen), group in trials.groupby(_OF_ALL, sort=False):
        # Two protocols of one dataset are two columns, though hardly two observations.
        several = group.groupby("dataset")["setting"].transform("nunique") > 1
        place = group["dataset"].where(~several, group["dataset"] + " " + group["protocol"])
        table = group.assign(place=place).pivot_table(
            index=_LINE, columns="place", values="mean", aggfunc="first"
        )
        table = table.dropna()
        if len(table) < 2 or len(table.columns) < 2:
            continue
        ranks = table.rank(ascending=False)
        ranks = ranks.loc[ranks.mean(axis=1).sort_values(kind="stable").index]
        critical, p = critical_difference(*ranks.shape), friedman(ranks.to_numpy())
        yield AverageRanks(student, objective, seen, ranks, critical, p)


def critical_difference(methods: int, datasets: int) -> float:
    """Nemenyi's, at 5 %, of average ranks of `methods` over `datasets`."""
    return _range_of_normals(methods) * float(np.sqrt(methods * (methods + 1) / (12 * datasets)))


def _range_of_normals(count: int) -> float:
    """What the range of `count` standard normal numbers exceeds in 5 % of cases.

    This is the studentised range of a known deviation, whose distribution is

        P(q) = k integral phi(z) (Phi(z) - Phi(z - q))^(k - 1) dz.

    `scipy.stats` has it as well, but takes a second of each report to be imported.
    """
    from scipy.special import ndtr  # a report of one dataset needs no scipy

    z = np.linspace(-9, 9, 1801)
    density = np.exp(-(z**2) / 2) * (z[1] - z[0]) / np.sqrt(2 * np.pi)
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        below = count * float(density @ (ndtr(z) - ndtr(z - middle)) ** (count - 1))
        low, high = (middle, high) if below < 1 - SIGNIFICANT else (low, middle)
    return middle


def friedman(ranks: NDArray[np.float64]) -> float:
    """P-value of Friedman's test, corrected for ties, of ranks [k, N].

    Args:
        ranks: of k methods within each of N datasets; 1 where all are equal in each.
    """
    from scipy.special import chdtrc

    methods, datasets = ranks.shape
    spread = ((ranks - (methods + 1) / 2) ** 2).sum()
    if spread == 0:
        return 1.0
    sums = ((ranks.sum(axis=1) - datasets * (methods + 1) / 2) ** 2).sum()
    return float(chdtrc(methods - 1, (methods - 1) * sums / spread))


def section(entries: pd.DataFrame) -> Section | None:
    """Average ranks of all students; None where no student has two datasets."""
    found = list(average_ranks(entries))
    if not found:
        return None
    metric = parse_metric(entries["metric"].iloc[0]).label
    return Section(
        title="Average rank over datasets",
        intro=f"Ranks in {metric} within each dataset, 1 is the best, of the methods that ran on "
        "all of them. A dataset is one observation here, whatever its users and seeds.",
        tables=[_table(one) for one in found],
    )


def _table(found: AverageRanks) -> Table:
    ranks = found.ranks.map("{:g}".format).reset_index()
    frame = pd.DataFrame(
        {
            "Method": ranks["method"],
            "Teacher": ranks["teacher"].replace("", formatting.MISSING),
            "Average rank": found.mean.map("{:.2f}".format).to_numpy(),
            "Told from the first": np.where(found.told_apart, "*", ""),
            **{name: ranks[name] for name in found.ranks.columns},
        }
    ).set_axis([0] * len(ranks))
    return Table(found.name, frame, 2, [found.note])
