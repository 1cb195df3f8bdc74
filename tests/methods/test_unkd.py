"""UnKD against loops written from its equations."""

from __future__ import annotations

import collections
import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.distillation import Batch, Knowledge
from methods.unkd.method import UnbiasedDistillation, group_shares, popularity_groups

from .conftest import N_ITEMS, make_batch, make_student
from .listwise import Told, filtered, seen, told


def attached(knowledge: Knowledge, **settings: object) -> UnbiasedDistillation:
    method = UnbiasedDistillation(UnbiasedDistillation.Config(**settings))
    method.attach(make_student(), knowledge)
    return method


def usable_groups(method: UnbiasedDistillation, knowledge: Knowledge, batch: Batch, row: int):
    """Items of a row by group, in the teacher's order; groups of two and more only."""
    groups = collections.defaultdict(list)
    for item in filtered(knowledge, batch, row):
        groups[int(method.group[item])].append(item)
    return {group: items for group, items in groups.items() if len(items) >= 2}


def test_equals_the_equation_for_the_pairs_it_drew(knowledge: Knowledge) -> None:
    batch, out = make_batch(), told()
    found = float(attached(knowledge, weight=0.7).loss(batch, out)["unkd"].detach())
    (asked,) = out.asked
    rows = []
    for scores, items in zip(out.hidden.tolist(), asked.tolist(), strict=True):
        pairs = zip(items[:32], items[32:], strict=True)
        values = [-math.log(1 / (1 + math.exp(-(scores[i] - scores[j])))) for i, j in pairs]
        rows.append(sum(values) / 32)
    assert found == pytest.approx(0.7 * sum(rows) / len(rows))


def test_pairs_are_of_one_group_and_in_the_teachers_order(knowledge: Knowledge) -> None:
    method, batch = attached(knowledge), make_batch()
    better, worse, usable = method.draw(batch)
    assert usable.all()
    for b in range(16):
        groups = usable_groups(method, knowledge, batch, b)
        number = collections.Counter()
        for high, low in zip(better[b].tolist(), worse[b].tolist(), strict=True):
            group = int(method.group[high])
            assert groups[group].index(high) < groups[group].index(low)
            number[group] += 1
        assert number.keys() == groups.keys()
        assert max(number.values()) - min(number.values()) <= 1


def test_pairs_prefer_the_head_of_a_group(knowledge: Knowledge) -> None:
    size = 20_000
    batch = make_batch(1)
    wide = dataclasses.replace(
        batch,
        row_id=batch.row_id.expand(size),
        history=batch.history.expand(size, -1),
        target=batch.target.expand(size),
    )
    method = attached(knowledge, groups=1, pairs=1, decay=2.0)
    better, worse, _ = method.draw(wide)
    listed = filtered(knowledge, batch, 0)
    weight = [math.exp(-(rank + 1) / 2) for rank in range(len(listed))]
    total = sum(a * b for r, a in enumerate(weight) for b in weight[r + 1 :])
    for r in range(2):
        expected = weight[r] * weight[r + 1] / total
        found = ((better == listed[r]) & (worse == listed[r + 1])).double().mean()
        assert float(found) == pytest.approx(expected, abs=0.015)


@given(st.lists(st.integers(0, 40), min_size=4, max_size=60), st.integers(1, 6))
def test_groups_have_about_equal_total_counts(counts: list[int], groups: int) -> None:
    table = torch.tensor([0, *counts]).float()
    group = popularity_groups(table, groups)
    assert group[0] == 0
    by_popularity = table[1:].argsort(descending=True, stable=True) + 1
    assert (group[by_popularity].diff() >= 0).all()
    assert int(group.max()) < groups
    for number in range(groups):
        total = float(table[1:][group[1:] == number].sum())
        assert abs(total - sum(counts) / groups) <= max(counts)


def test_shares_of_groups(knowledge: Knowledge) -> None:
    counts = torch.tensor([0.0, 60, 12, 8, 4, 2, 1, 1])
    group = torch.tensor([0, 0, 1, 1, 2, 2, 2, 2])
    assert group_shares(counts, group, 3, 0.0).tolist() == [1.0, 1.0, 1.0]
    # Mean counts 60, 10, 2, relative to the largest, reversed, at least a tenth.
    expected = torch.tensor([0.1, 10 / 60, 1.0])
    torch.testing.assert_close(group_shares(counts, group, 3, 1.0), expected)
    torch.testing.assert_close(group_shares(counts, group, 3, 2.0), expected**2)
    assert torch.isfinite(group_shares(torch.zeros(8), group, 4, 1.0)).all()


def test_groups_without_a_pair_leave_theirs_to_the_others(knowledge: Knowledge) -> None:
    # Popularity groups of a catalogue where one item is as popular as all others together.
    counts = torch.ones(N_ITEMS + 1)
    counts[0], counts[7] = 0, N_ITEMS - 1
    method = attached(dataclasses.replace(knowledge, target_counts=counts), groups=2, pairs=10)
    assert (method.group == 0).nonzero()[:, 0].tolist() == [0, 7]
    better, worse, usable = method.draw(make_batch())
    assert usable.all()
    assert (method.group[better] == 1).all()
    assert (method.group[worse] == 1).all()


@pytest.mark.parametrize("stored", [1, 2])
def test_rows_without_a_pair_weigh_nothing(knowledge: Knowledge, stored: int) -> None:
    batch, out = make_batch(), told()
    covered = knowledge.covered.clone()
    covered[batch.row_id[:4]] = False
    short = dataclasses.replace(knowledge, rankings=knowledge.rankings[:, :stored], covered=covered)
    attached(short, groups=1).loss(batch, out)["unkd"].backward()
    for b in range(16):
        has_pair = b >= 4 and len(filtered(short, batch, b)) >= 2
        assert bool(out.hidden.grad[b].any()) == has_pair


def test_gradient_is_that_of_the_difference(knowledge: Knowledge) -> None:
    batch, out = make_batch(), told()
    attached(knowledge, weight=1.0).loss(batch, out)["unkd"].backward()
    (asked,) = out.asked
    expected = torch.zeros(16, N_ITEMS + 1, dtype=torch.float64)
    for b, items in enumerate(asked.tolist()):
        for i, j in zip(items[:32], items[32:], strict=True):
            difference = float((out.hidden[b, i] - out.hidden[b, j]).detach())
            push = 1 / (1 + math.exp(difference)) / 32 / 16
            expected[b, i] -= push
            expected[b, j] += push
        assert not expected[b, sorted(seen(batch, b) | {0})].any()
    torch.testing.assert_close(out.hidden.grad, expected)


def test_a_preference_between_groups_is_not_taught(knowledge: Knowledge) -> None:
    method, batch = attached(knowledge), make_batch()
    logits = told().hidden.detach()
    losses = []
    for shift in (0.0, 30.0):
        batch.generator.manual_seed(2)
        losses.append(method.loss(batch, Told(logits + shift * method.group))["unkd"])
    torch.testing.assert_close(*losses)
