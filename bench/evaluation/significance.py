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

All are two-sided. Several comparisons of one table are corrected with Holm's procedure. A ratio of
two differences (`share_by_user`) has an interval over other users.
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
class Share:
    """A difference as a share of another, over the same examples.

    Attributes:
        value: their ratio.
        low: lower end of its 95 % interval; -inf where the other difference is not clear.
        high: upper end; inf likewise.
    """

    value: float
    low: float
    high: float


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
    difference = difference_by_user(ours, baseline, users)
    return None if difference is None else difference.compared(spread)


@dataclass(frozen=True)
class UserDifference:
    """A difference over examples, as far as it is known without the spread between seeds.

    Attributes:
        mean: of (ours - baseline) over examples.
        variance: of the mean, over other users.
        degrees: of freedom of that.
        seeds: how many it is the mean of.
    """

    mean: float
    variance: float
    degrees: float
    seeds: int

    def compared(self, spread: SeedSpread | None = None) -> Comparison:
        """The test of other users; of other seeds too where `spread` is known."""
        parts = [(self.variance, self.degrees)]
        if spread is not None:
            parts.append((spread.variance / self.seeds, spread.degrees))
        return _t_comparison(self.mean, *_summed(parts))


def difference_by_user(
    ours: ArrayLike, baseline: ArrayLike, users: ArrayLike
) -> UserDifference | None:
    """What `compare_by_user` tests, with its arguments; None with fewer than two users.

    Raises:
        ValueError: shapes that do not belong together.
    """
    ours, baseline, users = np.atleast_2d(ours), np.atleast_2d(baseline), np.asarray(users)
    if ours.shape != baseline.shape or ours.shape[1:] != users.shape:
        raise ValueError(
            f"a paired test needs equal shapes, not {ours.shape}, {baseline.shape}, {users.shape}"
        )
    by_example = (ours - baseline).mean(axis=0)
    residual = _residuals(by_example, users)
    n_users = len(residual)
    if n_users < 2:
        return None
    mean = float(by_example.mean())
    variance = n_users / (n_users - 1) * float(np.sum(residual**2)) / len(users) ** 2
    return UserDifference(mean, variance, n_users - 1, len(ours))


def share_by_user(part: ArrayLike, whole: ArrayLike, users: ArrayLike) -> Share | None:
    """A mean difference as a share of another, with an interval over users (Fieller, 1954).

    With means a of `part` and b of `whole`, and the cluster-robust variances and covariance of the
    two (see `compare_by_user`), the interval holds each r under which a - r b is not told from 0:

        (a - r b)^2 <= t^2 (v_aa - 2 r v_ab + r^2 v_bb)

    It is bounded where b is told from 0. It says nothing of other seeds.

    Args:
        part: float [R], a difference of every example, averaged over seeds.
        whole: float [R], the other difference.
        users: int [R], the id of the user of each example, >= 0.

    Returns:
        The share, or None with fewer than two users or without any difference to share.

    Raises:
        ValueError: shapes that do not belong together.
    """
    part, whole, users = (np.asarray(values) for values in (part, whole, users))
    if not part.shape == whole.shape == users.shape:
        raise ValueError(f"a share needs equal shapes, not {part.shape}, {whole.shape}")
    residuals = np.stack([_residuals(values, users) for values in (part, whole)])
    n_users = residuals.shape[1]
    a, b = float(part.mean()), float(whole.mean())
    if n_users < 2 or b == 0:
        return None
    from scipy.special import stdtrit  # as in `_t_comparison`

    (v_aa, v_ab), (_, v_bb) = n_users / (n_users - 1) * residuals @ residuals.T / len(users) ** 2
    t_squared = float(stdtrit(n_users - 1, 0.5 + CONFIDENCE / 2)) ** 2
    # The quadratic q r^2 - 2 h r + c <= 0 in r.
    q, h, c = b * b - t_squared * v_bb, a * b - t_squared * v_ab, a * a - t_squared * v_aa
    if q <= 0:
        return Share(a / b, -np.inf, np.inf)
    margin = max(0.0, h * h - q * c) ** 0.5
    return Share(a / b, (h - margin) / q, (h + margin) / q)


def _residuals(by_example: NDArray[np.float64], users: NDArray[np.int64]) -> NDArray[np.float64]:
    """What each user that there is adds to the sum over examples, less its part of the mean."""
    sizes = np.bincount(users)
    sums, sizes = np.bincount(users, by_example)[sizes > 0], sizes[sizes > 0]
    residuals: NDArray[np.float64] = sums - sizes * by_example.mean()
    return residuals


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
