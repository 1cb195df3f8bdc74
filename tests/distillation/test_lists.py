"""The teacher's lists of a batch against loops over rows."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.distillation import Knowledge
from bench.distillation.lists import TeacherLists, contains, coverage, first

from ..methods.conftest import LISTED, N_ROWS, make_batch

SETS = st.lists(st.lists(st.integers(0, 9), min_size=5, max_size=5), min_size=1, max_size=6)


@given(
    rows=st.lists(
        st.lists(st.tuples(st.integers(1, 99), st.booleans()), min_size=7, max_size=7),
        min_size=1,
        max_size=6,
    ),
    k=st.integers(1, 9),
)
def test_the_first_usable_ids_keep_their_order(rows: list[list[tuple[int, bool]]], k: int) -> None:
    ids = torch.tensor([[i for i, _ in row] for row in rows])
    usable = torch.tensor([[u for _, u in row] for row in rows])
    chosen, real = first(ids, usable, k)
    assert chosen.shape == real.shape == (len(rows), min(k, 7))
    for row, got, flags in zip(rows, chosen.tolist(), real.tolist(), strict=True):
        expected = [i for i, u in row if u][:k]
        assert got == expected + [0] * (min(k, 7) - len(expected))
        assert flags == [n < len(expected) for n in range(min(k, 7))]


@given(sets=SETS, seed=st.integers(0, 1000))
def test_membership_is_asked_row_by_row(sets: list[list[int]], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 10, (len(sets), 3), generator=generator)
    expected = [[i in s for i in row] for row, s in zip(ids.tolist(), sets, strict=True)]
    assert contains(torch.tensor(sets), ids).tolist() == expected


@pytest.mark.parametrize("k", [1, 4, LISTED, 40])
@pytest.mark.parametrize("exclude_history", [False, True])
@pytest.mark.parametrize("exclude_target", [False, True])
def test_lists_lose_what_is_excluded_and_close_up(
    knowledge: Knowledge, exclude_target: bool, exclude_history: bool, k: int
) -> None:
    batch = make_batch()
    covered = torch.arange(N_ROWS) % 3 > 0
    # Some targets stand in their lists, which chance alone seldom brings about.
    target = torch.where(batch.user % 2 > 0, knowledge.rankings[batch.row_id, 1], batch.target)
    batch = dataclasses.replace(batch, target=target)
    lists = TeacherLists(
        dataclasses.replace(knowledge, covered=covered),
        exclude_target=exclude_target,
        exclude_history=exclude_history,
    )
    ids, real = lists.take(batch, k)
    width = min(k, LISTED)
    assert ids.shape == real.shape == (16, width)
    for b, row in enumerate(batch.row_id.tolist()):
        barred = {int(target[b])} if exclude_target else set()
        barred |= set(batch.history[b].tolist()) if exclude_history else set()
        kept = [i for i in knowledge.rankings[row].tolist() if i not in barred]
        kept = kept[:width] if covered[row] else []
        assert ids[b].tolist() == kept + [0] * (width - len(kept))
        assert real[b].tolist() == [True] * len(kept) + [False] * (width - len(kept))


def test_a_teacher_that_says_nothing_of_coverage_covers_everything(knowledge: Knowledge) -> None:
    silent = dataclasses.replace(knowledge, covered=None)
    assert coverage(silent).tolist() == [True] * N_ROWS
    some = torch.arange(N_ROWS) % 2 > 0
    assert torch.equal(coverage(dataclasses.replace(knowledge, covered=some)), some)
