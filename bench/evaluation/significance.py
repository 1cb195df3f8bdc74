"""Is a difference between two methods more than chance? Paired tests and their correction.

A difference may be chance in two ways: other users would not show it, and other seeds would not.
The test of the leaderboards asks both, the other two one each:

* *other users*: the difference of every test example is averaged over the seeds both methods ran;
  examples of one user are not independent, so users are the sampling unit. The mean difference
  over examples is a ratio of user-level sums, and its standard error is the cluster-robust one; t
  with (users - 1) degrees of freedom.
* *other users and seeds*: the same, its variance increased by that between seeds, which all
  methods that are compared with one tell together: two or three seeds of one pair say too little.
* *other seeds*: the seeds are the sampling unit; a paired t-test over their mean differences.

All are two-sided. Several comparisons of one table are corrected with Holm's procedure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Comparison:
    """The result of one paired test.

    Attributes:
        difference: mean of (ours - baseline) over examples; positive is better for every metric.
        low: lower end of the 95 % interval of `difference`.
        high: upper end.
        p: two-sided, uncorrected p-value, 0..1.
    """

    difference: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class SeedSpread:
    """How far the difference of two methods on one seed lies from its mean over seeds.

    Attributes:
        variance: of the mean difference over examples of one seed.
        degrees: of freedom of that estimate.
    """

    variance: float
    degrees: float


def seed_spread(differences: Iterable[Sequence[float]]) -> SeedSpread | None:
    """Pool the spread between seeds of several methods that are compared with one and the same.

    Half of the variance is taken to be that one's own, which all methods see alike: it has no more
    degrees of freedom than it has seeds, whatever the number of methods (Satterthwaite).

    Args:
        differences: of each method the mean differences over examples, one of each shared seed.

    Returns:
        The spread, or None where no method has two seeds: nothing is known of other seeds then.
    """
    several = [np.asarray(values) for values in differences if len(values) > 1]
    if not several:
        return None
    total = sum(len(values) - 1 for values in several)
    squares = sum(float(np.sum((values - values.mean()) ** 2)) for values in several)
    shared = max(len(values) for values in several) - 1
    return SeedSpread(squares / total, min(total, 4 / (1 / shared + 1 / total)))


def compare_by_user(
    ours: ArrayLike,
    baseline: ArrayLike,
    users: ArrayLike,
    spread: SeedSpread | None = None,
) -> Comparison | None:
    """Paired test of two methods, clustered by user; of other seeds too where `spread` is known.

    With S_u the sum and n_u the number of the differences of user u, U users, R examples, S seeds,

        d = sum_u S_u / R,    se_u^2 = U / (U - 1) * sum_u (S_u - n_u d)^2 / R^2,
        se^2 = se_u^2 + spread.variance / S,    t = d / se,

    with U - 1 degrees of freedom, or Satterthwaite's of the sum.

    Args:
        ours: float [R] or [seeds, R], the metric of every example (of every shared seed).
        baseline: same shape, example by example and seed by seed the counterpart.
        users: int [R], the id of the user of each example, >= 0.
        spread: between seeds; without it the test is about these trials alone.

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
    by_example = (ours - baseline).mean(axis=0)
    sizes = np.bincount(users)
    sums, sizes = np.bincount(users, by_example)[sizes > 0], sizes[sizes > 0]
    n_users, n_examples = len(sums), len(users)
    if n_users < 2:
        return None
    mean = float(by_example.mean())
    residual = sums - sizes * mean
    parts: list[tuple[float, float]] = [
        (n_users / (n_users - 1) * float(np.sum(residual**2)) / n_examples**2, n_users - 1)
    ]
    if spread is not None:
        parts.append((spread.variance / len(ours), spread.degrees))
    return _t_comparison(mean, *_summed(parts))


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


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's step-down correction; controls the chance of any false positive among all.

    Args:
        p_values: [M] uncorrected p-values; NaN (no test possible) is passed through and not
            counted.

    Returns:
        float64 [M], corrected values in the same order, 0..1.
    """
    corrected = np.array(p_values, dtype=np.float64)
    order = np.argsort(corrected)[: np.count_nonzero(~np.isnan(corrected))]  # NaN comes last
    steps = np.arange(len(order), 0, -1) * corrected[order]
    corrected[order] = np.maximum.accumulate(np.minimum(1.0, steps))
    return corrected


def _summed(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Standard error and degrees of freedom of a sum of variances (Satterthwaite, 1946)."""
    variance = sum(part for part, _ in parts)
    squares = sum(part**2 / degrees for part, degrees in parts)
    degrees = variance**2 / squares if squares > 0 else float(parts[0][1])
    return variance**0.5, degrees


def _t_comparison(mean: float, error: float, degrees: float) -> Comparison:
    if error == 0.0:  # no spread at all: equal everywhere, or the same shift everywhere
        return Comparison(mean, mean, mean, 1.0 if mean == 0.0 else 0.0)
    from scipy.special import stdtr, stdtrit  # a report without a comparison needs no scipy

    p = 2.0 * float(stdtr(degrees, -abs(mean) / error))
    margin = float(stdtrit(degrees, 0.5 + CONFIDENCE / 2)) * error
    return Comparison(mean, mean - margin, mean + margin, p)
