"""Ensemble lists against a dictionary, row by row."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from methods.hetcomp.trajectories import Trajectories, consensus

from ..conftest import N_ROWS
from ..heterogeneous import LISTED, STATES, TEACHERS, allowed, toy_knowledge

LISTS = st.lists(
    st.lists(st.integers(1, 9), max_size=6, unique=True), min_size=1, max_size=4
)  # of several teachers, for one row


def totals(lists: list[list[int]], temperature: float) -> dict[int, float]:
    gained: dict[int, float] = {}
    for ids in lists:
        for rank, item in enumerate(ids):
            gained[item] = gained.get(item, 0.0) + math.exp(-rank / temperature)
    return gained


def falls(ids: list[int], gained: dict[int, float]) -> bool:
    """Whether sums do not rise along a list, rounding apart."""
    sums = [gained[i] for i in ids]
    return all(a >= b - 1e-5 for a, b in itertools.pairwise(sums))


@given(LISTS)
def test_consensus_holds_every_item_once_in_the_order_of_its_sum(lists: list[list[int]]) -> None:
    padded = torch.tensor([[ids + [0] * (6 - len(ids)) for ids in lists]])
    found = consensus(padded, torch.exp(-torch.arange(6) / 10.0))[0].tolist()
    gained = totals(lists, 10.0)
    assert found[len(gained) :] == [0] * (len(found) - len(gained))
    assert set(found[: len(gained)]) == gained.keys()
    assert falls(found[: len(gained)], gained)


def test_equal_sums_stand_by_id() -> None:
    lists = torch.tensor([[[7, 3], [3, 7]]])
    assert consensus(lists, torch.tensor([1.0, 0.5]))[0].tolist() == [3, 7, 0, 0]


@pytest.mark.parametrize("history", [True, False])
@pytest.mark.parametrize("k", [7, 100])
def test_ensembles_of_rows_at_states_of_their_own(history: bool, k: int) -> None:
    knowledge = toy_knowledge()
    teachers = Trajectories(knowledge, None, exclude_history=history)
    states = torch.randint(STATES, (len(TEACHERS), N_ROWS), generator=torch.Generator())
    rows = torch.randperm(N_ROWS, generator=torch.Generator())[:40]
    importance = torch.exp(-torch.arange(LISTED) / 10.0)
    found = teachers.consensus(states[:, rows], rows, importance, k)
    assert found.shape == (40, k) and found.dtype == torch.int32
    for row, ids in zip(rows.tolist(), found.tolist(), strict=True):
        lists = [
            allowed(knowledge, m, int(states[m, row]), row, history=history)
            for m in range(len(TEACHERS))
        ]
        gained = totals(lists, 10.0)
        kept = [i for i in ids if i > 0]
        assert len(set(kept)) == len(kept) == min(k, len(gained))
        assert ids[len(kept) :] == [0] * (k - len(kept))
        assert falls(kept, gained)
        worst = gained[kept[-1]]
        assert all(gained[i] <= worst + 1e-5 for i in gained.keys() - set(kept))


def test_rows_of_silence_have_no_list() -> None:
    covered = torch.arange(N_ROWS) % 3 > 0
    knowledge = dataclasses.replace(toy_knowledge(), covered=covered)
    teachers = Trajectories(knowledge, None, exclude_history=True)
    rows = torch.arange(N_ROWS)
    lists = teachers.consensus(torch.zeros(3, N_ROWS).long(), rows, torch.ones(LISTED), 10)
    assert torch.equal(lists[:, 0] > 0, covered)


def test_named_teachers_only() -> None:
    knowledge = toy_knowledge()
    one = Trajectories(knowledge, ["third"], exclude_history=True)
    assert one.names == ("third",)
    rows, state = torch.arange(N_ROWS), torch.ones(N_ROWS).long()
    found = one.take(0, state, rows, 5).tolist()
    assert found == [allowed(knowledge, 2, 1, row)[:5] for row in range(N_ROWS)]
    for unknown in (["fourth"], []):
        with pytest.raises(ValueError, match="there are first, second, third"):
            Trajectories(knowledge, unknown, exclude_history=True)
