"""Paired tests against brute force, an independent library, planted effects and pure chance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.multitest import multipletests

from bench.evaluation.significance import (
    SeedSpread,
    compare_by_seed,
    compare_by_user,
    holm,
    seed_spread,
    share_by_user,
)


def test_one_row_per_user_is_the_paired_t_test():
    rng = np.random.default_rng(0)
    ours, baseline = rng.normal(0.1, 1, 200), rng.normal(0, 1, 200)
    theirs = stats.ttest_rel(ours, baseline)
    interval = theirs.confidence_interval(0.95)
    got = compare_by_user(ours, baseline, np.arange(200))
    assert got.p == pytest.approx(theirs.pvalue)
    assert (got.low, got.high) == pytest.approx((interval.low, interval.high))


def test_clusters_equal_the_written_formula():
    rng = np.random.default_rng(1)
    users = rng.integers(0, 30, 300)
    ours, baseline = rng.normal(0.2, 1, (3, 300)), rng.normal(0, 1, (3, 300))
    d = (ours - baseline).mean(axis=0)
    present = sorted(set(users.tolist()))
    square = sum((d[users == u].sum() - (users == u).sum() * d.mean()) ** 2 for u in present)
    error = np.sqrt(len(present) / (len(present) - 1) * square) / len(d)
    p = 2 * stats.t.sf(abs(d.mean() / error), len(present) - 1)
    got = compare_by_user(ours, baseline, users)
    assert (got.difference, got.p) == pytest.approx((d.mean(), p))


def test_the_error_agrees_with_resampling_users():
    rng = np.random.default_rng(2)
    sizes = rng.integers(1, 8, 150)
    users = np.repeat(np.arange(150), sizes)
    d = rng.normal(0, 1, 150)[users] + rng.normal(0.2, 0.5, len(users))
    got = compare_by_user(d, np.zeros_like(d), users)
    sums, counts = np.bincount(users, d), np.bincount(users)
    pick = rng.integers(0, 150, (4000, 150))
    means = sums[pick].sum(axis=1) / counts[pick].sum(axis=1)
    margin = (got.high - got.low) / 2 / stats.t.ppf(0.975, 149)
    assert margin == pytest.approx(means.std(), rel=0.1)


def test_chance_alone_is_called_significant_one_time_in_twenty():
    """Rows of a user share an effect: a test that ignores users fails this by far."""
    rng = np.random.default_rng(3)
    users = np.repeat(np.arange(100), 6)
    p_users, p_rows = [], []
    for _ in range(800):
        d = rng.normal(0, 1, 100)[users] + rng.normal(0, 0.5, 600)
        p_users.append(compare_by_user(d, np.zeros(600), users).p)
        p_rows.append(compare_by_user(d, np.zeros(600), np.arange(600)).p)
    assert 0.03 < np.mean(np.array(p_users) < 0.05) < 0.07
    assert np.mean(np.array(p_rows) < 0.05) > 0.2


def test_a_planted_effect_is_found_with_its_direction():
    rng = np.random.default_rng(4)
    users = rng.integers(0, 500, 3000)
    baseline = rng.random((3, 3000)) < 0.10
    ours = rng.random((3, 3000)) < 0.13
    better = compare_by_user(ours.astype(float), baseline.astype(float), users)
    worse = compare_by_user(baseline.astype(float), ours.astype(float), users)
    assert better.p < 0.01
    assert 0 < better.low < better.difference < better.high
    assert worse.p == pytest.approx(better.p)
    assert worse.difference == pytest.approx(-better.difference)


def test_nothing_can_be_said_from_one_user_or_one_seed():
    assert compare_by_user([1.0, 2.0], [0.0, 0.0], [5, 5]) is None
    assert compare_by_seed([0.1], [0.2]) is None


def test_equal_methods_do_not_differ():
    same = np.random.default_rng(5).random(50)
    got = compare_by_user(same, same, np.arange(50))
    assert (got.difference, got.p) == (0.0, 1.0)


def test_shapes_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match="equal shapes"):
        compare_by_user(np.zeros(3), np.zeros(4), np.zeros(3))


def test_seeds_are_compared_by_the_paired_t_test():
    ours, baseline = [0.21, 0.23, 0.22], [0.20, 0.21, 0.215]
    assert compare_by_seed(ours, baseline).p == pytest.approx(
        stats.ttest_rel(ours, baseline).pvalue
    )


def test_the_spread_between_seeds_is_pooled_over_methods():
    spread = seed_spread([[0.1, 0.3], [0.2], [0.0, 0.3, 0.6]])
    assert spread.variance == pytest.approx((0.02 + 0.18) / 3)
    assert spread.degrees == 3
    # What all are compared with has three seeds, however many they are.
    many = seed_spread([[0.1, 0.2, 0.3]] * 10)
    assert (many.variance, many.degrees) == pytest.approx((0.01, 4 / (1 / 2 + 1 / 20)))
    assert seed_spread([[0.1, 0.3]]) == SeedSpread(pytest.approx(0.02), 1)
    assert seed_spread([[0.2], []]) is None


def test_other_seeds_add_to_the_error_by_the_written_formula():
    rng = np.random.default_rng(6)
    ours, baseline = rng.normal(0.2, 1, (3, 200)), rng.normal(0, 1, (3, 200))
    users, d = np.arange(200), (ours - baseline).mean(axis=0)
    of_users, of_seeds = d.var(ddof=1) / 200, 0.02 / 3
    degrees = (of_users + of_seeds) ** 2 / (of_users**2 / 199 + of_seeds**2 / 5)
    p = 2 * stats.t.sf(abs(d.mean()) / (of_users + of_seeds) ** 0.5, degrees)
    assert compare_by_user(ours, baseline, users, SeedSpread(0.02, 5)).p == pytest.approx(p)
    alone = compare_by_user(ours, baseline, users)
    assert compare_by_user(ours, baseline, users, SeedSpread(0.0, 5)).p == pytest.approx(alone.p)


def test_methods_that_differ_by_their_seeds_alone_are_rarely_called_better():
    """Ten methods and what they are compared with, all the same but for the luck of a seed."""
    rng = np.random.default_rng(7)
    users = np.repeat(np.arange(80), 5)
    found, of_users = [], []
    for _ in range(200):
        world = rng.normal(0, 1, 400) + rng.normal(0, 1, 80)[users]
        # [method, seed, row]: a shift of the whole trial, and what single rows make of it.
        luck = rng.normal(0, 0.15, (11, 3, 1))
        values = world + luck + rng.normal(0, 0.3, (11, 3, 400))
        differences = (values[1:] - values[0]).mean(axis=2)
        spread = seed_spread(differences.tolist())
        for ours in values[1:]:
            found.append(compare_by_user(ours, values[0], users, spread).p)
            of_users.append(compare_by_user(ours, values[0], users).p)
    assert np.mean(np.array(found) < 0.05) < 0.07
    assert np.mean(np.array(of_users) < 0.05) > 0.3


def test_holm_by_hand():
    found = holm([0.01, np.nan, 0.04, 0.03])
    assert found == pytest.approx([0.03, np.nan, 0.06, 0.06], nan_ok=True)
    assert len(holm([])) == 0


def test_statsmodels_agrees():
    """Cluster-robust errors of a regression on a constant, and its step-down correction."""
    rng = np.random.default_rng(8)
    users = rng.integers(0, 40, 300)
    ours, baseline = rng.normal(0.2, 1, 300) + rng.normal(0, 1, 40)[users], rng.normal(0, 1, 300)
    fitted = OLS(ours - baseline, np.ones(300)).fit(
        cov_type="cluster", cov_kwds={"groups": users}, use_t=True
    )
    got = compare_by_user(ours, baseline, users)
    assert got.p == pytest.approx(fitted.pvalues[0])
    assert (got.low, got.high) == pytest.approx(tuple(fitted.conf_int()[0]))
    p_values = rng.random(20) ** 3
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_never_helps(p_values):
    corrected = holm(p_values)
    assert all(p <= c <= 1 for p, c in zip(p_values, corrected, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(corrected)[order]) >= 0).all()


def clustered(seed: int, users: int = 150) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two correlated differences of examples of a few users each, the second clearly above 0."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(users), rng.integers(1, 8, users))
    shared, own = rng.normal(0, 1, users)[owner], rng.normal(0, 0.5, (2, len(owner)))
    return 0.3 + 0.6 * shared + own[0], 0.8 + shared + own[1], owner


def test_the_interval_of_a_share_agrees_with_resampling_users():
    part, whole, users = clustered(0)
    got = share_by_user(part, whole, users)
    sums = np.stack([np.bincount(users, values) for values in (part, whole)])
    pick = np.random.default_rng(1).integers(0, 150, (20_000, 150))
    resampled = sums[0][pick].sum(axis=1) / sums[1][pick].sum(axis=1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    assert got.value == pytest.approx(part.mean() / whole.mean())
    assert (got.low, got.high) == pytest.approx((low, high), abs=0.03)
    assert got.low < got.value < got.high


def test_a_share_is_of_the_whole_whatever_its_unit():
    part, whole, users = clustered(2)
    got = share_by_user(part, whole, users)
    scaled = share_by_user(7 * part, 7 * whole, users)
    assert (scaled.value, scaled.low, scaled.high) == pytest.approx((got.value, got.low, got.high))
    rest = share_by_user(whole - part, whole, users)
    ends = (rest.value, rest.low, rest.high)
    assert ends == pytest.approx((1 - got.value, 1 - got.high, 1 - got.low))
    same = share_by_user(whole, whole, users)
    assert (same.value, same.low, same.high) == pytest.approx((1, 1, 1))


def test_a_share_of_what_may_be_nothing_has_no_ends():
    part, whole, users = clustered(3)
    got = share_by_user(part, whole - whole.mean() + 1e-3, users)
    assert (got.low, got.high) == (-np.inf, np.inf)
    assert share_by_user(part, 0 * whole, users) is None
    assert share_by_user(part[:2], whole[:2], np.zeros(2, int)) is None
    with pytest.raises(ValueError, match="equal shapes"):
        share_by_user(part, whole[1:], users)


def test_the_interval_of_a_share_holds_it_nineteen_times_in_twenty():
    inside = 0
    for seed in range(400):
        got = share_by_user(*clustered(seed + 10, users=60))
        inside += got.low <= 0.3 / 0.8 <= got.high
    assert 0.92 <= inside / 400 <= 0.975
