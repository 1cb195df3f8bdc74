"""HR, NDCG and MRR against their definitions and against an independent library."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import ConfigError
from bench.evaluation.metrics import Metric, metric_names, metrics_from_ranks, parse_metric

RANKS = st.lists(st.integers(1, 60), min_size=1, max_size=50)


@given(RANKS, st.integers(1, 30))
def test_equal_to_the_definitions_row_by_row(ranks, k):
    got = metrics_from_ranks(ranks, [k])
    hits = [r for r in ranks if r <= k]
    assert got[f"hr@{k}"] == pytest.approx(len(hits) / len(ranks))
    assert got[f"ndcg@{k}"] == pytest.approx(sum(1 / math.log2(r + 1) for r in hits) / len(ranks))
    assert got[f"mrr@{k}"] == pytest.approx(sum(1 / r for r in hits) / len(ranks))


def test_equal_to_ranx(monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # its compilation takes half a minute
    ranx = pytest.importorskip("ranx")
    rng = np.random.default_rng(0)
    n_items, rows = 40, 60
    scores = rng.permuted(np.tile(np.arange(float(n_items)), (rows, 1)), axis=1)
    target = rng.integers(0, n_items, rows)
    ranks = 1 + (scores > scores[np.arange(rows), target][:, None]).sum(axis=1)
    qrels = ranx.Qrels({f"q{i}": {f"d{t}": 1} for i, t in enumerate(target)})
    run = ranx.Run(
        {f"q{i}": {f"d{j}": float(s) for j, s in enumerate(row)} for i, row in enumerate(scores)}
    )
    names = {"hr": "hit_rate", "ndcg": "ndcg", "mrr": "mrr"}
    wanted = metric_names()
    theirs = ranx.evaluate(
        qrels, run, [f"{names[n.split('@')[0]]}@{n.split('@')[1]}" for n in wanted]
    )
    ours = metrics_from_ranks(ranks)
    for name, value in zip(wanted, theirs.values(), strict=True):
        assert ours[name] == pytest.approx(float(value), abs=1e-12), name


@given(RANKS)
def test_larger_cutoffs_and_better_ranks_never_lower_a_metric(ranks):
    values = metrics_from_ranks(ranks, [1, 5, 20])
    better = metrics_from_ranks([max(1, r - 1) for r in ranks], [1, 5, 20])
    for family in ("hr", "ndcg", "mrr"):
        assert values[f"{family}@1"] <= values[f"{family}@5"] <= values[f"{family}@20"]
    assert all(better[name] >= values[name] for name in values)
    assert all(0 <= value <= 1 for value in values.values())


@pytest.mark.parametrize(
    "ranks", [[1, 0], [-3], [float("nan"), 1], [float("inf")], [], [[1, 2]]], ids=str
)
def test_what_is_no_rank_is_refused(ranks):
    with pytest.raises(ValueError, match="rank"):
        metrics_from_ranks(ranks)


def test_a_refused_rank_is_located():
    with pytest.raises(ValueError, match=r"1 of 3 .* row 2: nan"):
        metrics_from_ranks([1, 2, float("nan")])


def test_names_are_read_in_any_case():
    metric = parse_metric(" NDCG@20 ")
    assert metric == Metric("ndcg", 20)
    assert (str(metric), metric.label) == ("ndcg@20", "NDCG@20")


@pytest.mark.parametrize(
    ("name", "message"),
    [("ndgc@20", "Did you mean 'ndcg'"), ("ndcg", "FAMILY@K"), ("hr@0", "at least 1")],
)
def test_a_wrong_name_says_what_is_allowed(name, message):
    with pytest.raises(ConfigError, match=message):
        parse_metric(name)
