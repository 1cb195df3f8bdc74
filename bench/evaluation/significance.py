"""Is a difference between two methods more than chance? Paired tests and their correction.

Two questions, two tests, never mixed:

* *other users* (the test of the leaderboards): the difference of every test row is averaged over
  the seeds both methods ran; rows of one user are not independent, so users are the sampling
  unit. The mean difference over rows is a ratio of user-level sums, and its standard error is
  the cluster-robust one; t with (users - 1) degrees of freedom.
* *other seeds*: the seeds are the sampling unit; a paired t-test over their mean differences.

Both are two-sided. Several comparisons of one table are corrected with Holm's procedure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Comparison:
    """The result of one paired test.

    Attributes:
        difference: mean of (ours - baseline) over rows; positive is better for every metric.
        low: lower end of the 95 % interval of `difference`.
        high: upper end.
        p: two-sided, uncorrected p-value, 0..1.
    """

    difference: float
    low: float
    high: float
    p: float


def compare_by_user(ours: ArrayLike, baseline: ArrayLike, users: ArrayLike) -> Comparison | None:
    """Paired test of two methods, clustered by user.

    With S_u the sum and n_u the number of the differences of user u, U users and R rows,

        d = sum_u S_u / R,    se^2 = U / (U - 1) * sum_u (S_u - n_u d)^2 / R^2,    t = d / se.

    Args:
        ours: float [R] or [seeds, R], the metric of every row (of every shared seed).
        baseline: same shape, row by row and seed by seed the counterpart.
        users: int [R], the user of each row.

    Returns:
        The comparison, or None with fewer than two users: then nothing can be said.

    Raises:
        ValueError: shapes that do not belong together.
    """
    ours, baseline, users = np.atleast_2d(ours), np.atleast_2d(baseline), np.asarray(users)
    if ours.shape != baseline.shape or ours.shape[1:] != users.shape:
        raise ValueError(
            f"a paired test needs equal shapes, not {ours.shape}, {baseline.shape}, {users.shape}"
        )
    row_difference = (ours - baseline).mean(axis=0)
    _, cluster = np.unique(users, return_inverse=True)
    sums, sizes = np.bincount(cluster, row_difference), np.bincount(cluster)
    n_users, n_rows = len(sums), len(users)
    if n_users < 2:
        return None
    mean = float(row_difference.mean())
    residual = sums - sizes * mean
    error = np.sqrt(n_users / (n_users - 1) * np.sum(residual**2)) / n_rows
    return _t_comparison(mean, float(error), n_users - 1)


def compare_by_seed(ours: ArrayLike, baseline: ArrayLike) -> Comparison | None:
    """Paired t-test over seeds.

    Args:
        ours: float [S], the metric of each shared seed.
        baseline: float [S], its counterpart.

    Returns:
        The comparison, or None with fewer than two seeds.
    """
    difference = np.asarray(ours, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    count = len(difference)
    if count < 2:
        return None
    error = float(difference.std(ddof=1)) / np.sqrt(count)
    return _t_comparison(float(difference.mean()), error, count - 1)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction; controls the chance of any false positive among all.

    Args:
        p_values: uncorrected p-values; None (no test possible) is passed through and not counted.

    Returns:
        Corrected values in the same order, 0..1.
    """
    tested = [i for i, p in enumerate(p_values) if p is not None]
    order = sorted(tested, key=lambda i: p_values[i] or 0.0)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for step, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - step) * (p_values[index] or 0.0)))
        corrected[index] = largest
    return corrected


def _t_comparison(mean: float, error: float, degrees: int) -> Comparison:
    if error == 0.0:  # no spread at all: equal everywhere, or the same shift everywhere
        return Comparison(mean, mean, mean, 1.0 if mean == 0.0 else 0.0)
    p = 2.0 * float(stdtr(degrees, -abs(mean) / error))
    margin = float(stdtrit(degrees, 0.5 + CONFIDENCE / 2)) * error
    return Comparison(mean, mean - margin, mean + margin, p)
