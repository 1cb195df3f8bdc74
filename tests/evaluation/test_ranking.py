from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.data.examples import Sequences
from bench.data.prepare.windows import examples_at, ordinals
from bench.errors import ConfigError, Diverged
from bench.evaluation.ranking import SeenItems, all_ranks, rank_targets, target_ranks
from bench.students.adapter import Adapter
from bench.students.config import StudentConfig
from bench.training.rows import DeviceRows


@given(st.integers(0, 2**31), st.integers(1, 30))
def test_rank_counts_ties_against_the_target(seed: int, n_items: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.integers(-2, 3, (20, n_items)).astype(np.float32)  # many ties
    target = random.integers(0, n_items, 20)
    expected = [
        1 + sum(scores[r, i] >= scores[r, t] for i in range(n_items) if i != t)
        for r, t in enumerate(target)
    ]
    given, target = torch.from_numpy(scores), torch.from_numpy(target)
    assert target_ranks(given, target).tolist() == expected
    assert target_ranks(given, target, consume=True).tolist() == expected


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
@pytest.mark.parametrize("column", [0, 3])
def test_scores_that_are_no_numbers_are_a_failed_trial(broken: float, column: int) -> None:
    scores = torch.zeros(4, 6)
    scores[2, column] = broken
    with pytest.raises(Diverged, match="NaN or infinite"):
        target_ranks(scores, torch.tensor([0, 1, 3, 2]))


@pytest.mark.parametrize(
    ("limit", "value"), [("BLOCK_ROWS", 8), ("BLOCK_BYTES", 3 * 50 * 4), ("BLOCK_BYTES", 1)]
)
def test_blocks_of_rows_do_not_change_ranks(
    limit: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    student = Adapter.of(
        StudentConfig(model="GRU4Rec"),
        n_items=50,
        history=4,
        known_users=torch.ones(3, dtype=torch.bool),
        objective="ce",
    ).eval()
    rows = DeviceRows(
        history=torch.randint(1, 51, (37, 4)),
        length=torch.randint(1, 5, (37,)),
        target=torch.randint(1, 51, (37,)),
        user=torch.zeros(37, dtype=torch.long),
        ordinal=torch.arange(37),
    )
    whole = rank_targets(student, rows)
    hidden = student.encode(rows.history, rows.length, rows.user)
    logits = student.logits(hidden).detach()
    wanted = logits.gather(1, rows.target.unsqueeze(1))
    np.testing.assert_array_equal(whole, (logits >= wanted).sum(dim=1).numpy())
    monkeypatch.setattr(f"bench.evaluation.ranking.{limit}", value)
    np.testing.assert_array_equal(rank_targets(student, rows), whole)
    assert whole.min() >= 1
    assert whole.max() <= 50


@pytest.fixture
def student() -> Adapter:
    torch.manual_seed(0)
    return Adapter.of(
        StudentConfig(model="GRU4Rec"),
        n_items=30,
        history=4,
        known_users=torch.ones(6, dtype=torch.bool),
        objective="ce",
    ).eval()


@given(st.integers(0, 2**31))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_masked_ranks_are_those_among_the_items_that_were_not_seen(
    student: Adapter, seed: int
) -> None:
    """Against a ranking item by item; a target that was seen before stays, repeats count once."""
    random = np.random.default_rng(seed)
    user = np.sort(random.integers(0, 6, 80)).astype(np.int32)
    item = random.integers(0, 30, 80).astype(np.int32)
    ordinal, _ = ordinals(user)
    table = examples_at(np.flatnonzero(ordinal), user, item, ordinal, history=4)
    rows, device = DeviceRows.of(table, torch.device("cpu")), torch.device("cpu")
    seen = SeenItems.of(Sequences.of(user, item, 6), device)
    found = all_ranks(student, rows, seen)
    np.testing.assert_array_equal(found.ranked, rank_targets(student, rows))
    scores = student.logits(student.encode(rows.history, rows.length, rows.user)).detach()
    assert found.masked is not None
    for row, target in enumerate(table.target):
        before = item[user == table.user[row]][: table.ordinal[row]] + 1
        left = set(range(1, 31)) - set(before.tolist()) | {int(target)}
        beaten_by = sum(bool(scores[row, i] >= scores[row, target]) for i in left if i != target)
        assert found.masked[row] == 1 + beaten_by


def test_who_asks_to_mask_what_nobody_knows_is_told(student: Adapter) -> None:
    rows = DeviceRows(*(torch.ones(2, 4).long(), *[torch.ones(2).long()] * 4))
    ranks = all_ranks(student, rows, None)
    assert ranks.under("rank") is ranks.ranked
    with pytest.raises(ConfigError, match="seen=mask"):
        ranks.under("mask")
