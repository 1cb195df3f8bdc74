"""RRD against loops written from its equation."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from bench.distillation import Batch, Knowledge
from methods.rrd import RelaxedRankingDistillation

from .conftest import N_ITEMS, make_batch, make_student
from .listwise import Told, filtered, seen, told


def attached(knowledge: Knowledge, **settings: object) -> RelaxedRankingDistillation:
    method = RelaxedRankingDistillation(RelaxedRankingDistillation.Config(**settings))
    method.attach(make_student(), knowledge)
    return method


def by_hand(scores: list[float], listed: list[int], below: list[int]) -> float:
    """The equation for one row, K times over."""
    total = 0.0
    for k, item in enumerate(listed):
        mass = sum(math.exp(scores[i]) for i in listed[k:] + below)
        total -= math.log(math.exp(scores[item]) / mass)
    return total


def value(method: RelaxedRankingDistillation, batch: Batch, out: Told) -> float:
    return float(method.loss(batch, out)["rrd"].detach())


def test_equals_the_equation_for_the_items_it_drew(knowledge: Knowledge) -> None:
    batch, out = make_batch(), told()
    found = value(attached(knowledge, weight=0.7, top_k=8, uninteresting=5), batch, out)
    drawn = next(ids for ids in out.asked if ids.shape[1] == 5).tolist()
    rows = []
    for b, scores in enumerate(out.hidden.tolist()):
        listed, observed = filtered(knowledge, batch, b), seen(batch, b)
        assert not set(drawn[b]) & (set(listed) | observed | {0})
        kept = listed[:8]
        rows.append(by_hand(scores, kept, drawn[b]) / len(kept))
    assert found == pytest.approx(0.7 * sum(rows) / len(rows))


def test_the_full_rest_is_all_that_could_be_drawn(knowledge: Knowledge) -> None:
    batch, out = make_batch(), told()
    found = value(attached(knowledge, weight=1.0, full_rest=True), batch, out)
    rows = []
    for b, scores in enumerate(out.hidden.tolist()):
        listed = filtered(knowledge, batch, b)
        below = set(range(1, N_ITEMS + 1)) - set(listed) - seen(batch, b)
        rows.append(by_hand(scores, listed, sorted(below)) / len(listed))
    assert found == pytest.approx(sum(rows) / len(rows))


def test_drawn_items_keep_the_teachers_order_and_prefer_its_first(knowledge: Knowledge) -> None:
    method, batch, out = attached(knowledge, sampling=True, top_k=4), make_batch(), told()
    first = last = 0
    for _ in range(200):
        out.asked.clear()
        method.loss(batch, out)
        items = next(ids for ids in out.asked if ids.shape[1] == 4).tolist()
        for b, row in enumerate(items):
            listed = filtered(knowledge, batch, b)
            places = [listed.index(item) for item in row]
            assert places == sorted(set(places))
            first, last = first + (0 in places), last + (len(listed) - 1 in places)
    # With T = 10 the first of some 11 items weighs e times as much as the last.
    assert first > 1.5 * last


def test_a_sharp_draw_is_the_head_of_the_list(knowledge: Knowledge) -> None:
    batch, asked = make_batch(), []
    for settings in ({}, {"sampling": True, "temperature": 0.01}):
        out = told()
        attached(knowledge, top_k=5, **settings).loss(batch, out)
        asked.append(next(ids for ids in out.asked if ids.shape[1] == 5))
    assert torch.equal(*asked)


@pytest.mark.parametrize("settings", [{}, {"sampling": True, "top_k": 6}, {"full_rest": True}])
def test_gradient_equals_finite_differences(knowledge: Knowledge, settings: dict) -> None:
    method, batch = attached(knowledge, **settings), make_batch(3)

    def loss(logits: torch.Tensor) -> torch.Tensor:
        batch.generator.manual_seed(3)  # the same draws at every point
        return method.loss(batch, Told(logits))["rrd"]

    assert torch.autograd.gradcheck(loss, (told(3).hidden,))


def test_history_and_target_are_left_alone_and_unlisted_items_pushed_down(
    knowledge: Knowledge,
) -> None:
    batch, out = make_batch(), told()
    attached(knowledge, full_rest=True).loss(batch, out)["rrd"].backward()
    for b, gradient in enumerate(out.hidden.grad):
        listed = filtered(knowledge, batch, b)
        observed = sorted(seen(batch, b))
        rest = sorted(set(range(1, N_ITEMS + 1)) - set(listed) - set(observed))
        assert not gradient[[0, *observed]].any()
        assert (gradient[rest] > 0).all()  # descent lowers them
        assert gradient[listed[0]] < 0


@pytest.mark.parametrize("full_rest", [False, True])
def test_nothing_left_below_the_list(knowledge: Knowledge, full_rest: bool) -> None:
    # Every item is listed for every row: the order of the list is all there is to learn.
    order = torch.rand(64, N_ITEMS, generator=torch.Generator().manual_seed(3)).argsort(dim=1) + 1
    method = attached(
        dataclasses.replace(knowledge, rankings=order), weight=1.0, full_rest=full_rest
    )
    batch, out = make_batch(), told()
    term = method.loss(batch, out)["rrd"]
    rows = []
    for b, scores in enumerate(out.hidden.tolist()):
        listed = [i for i in order[batch.row_id[b]].tolist() if i not in seen(batch, b)]
        rows.append(by_hand(scores, listed, []) / len(listed))
    assert float(term.detach()) == pytest.approx(sum(rows) / len(rows))
    term.backward()
    assert torch.isfinite(out.hidden.grad).all()


@pytest.mark.parametrize("settings", [{}, {"sampling": True}, {"full_rest": True}])
def test_rows_without_a_usable_item_weigh_nothing(knowledge: Knowledge, settings: dict) -> None:
    batch = make_batch()
    covered = knowledge.covered.clone()
    covered[batch.row_id[8:12]] = False
    lists = knowledge.rankings[:, :1].clone()
    lists[batch.row_id[12:], 0] = batch.target[12:]  # an item that must not be taught
    method = attached(dataclasses.replace(knowledge, covered=covered, rankings=lists), **settings)
    out = told(dtype=torch.float32)
    term = method.loss(batch, out)["rrd"]
    assert term > 0
    term.backward()
    assert not out.hidden.grad[8:].any()


def test_a_perfect_order_costs_less_than_its_reverse(knowledge: Knowledge) -> None:
    batch = make_batch()
    logits = torch.zeros(16, N_ITEMS + 1)
    for b in range(16):
        for place, item in enumerate(filtered(knowledge, batch, b)):
            logits[b, item] = 15.0 - place
    method, losses = attached(knowledge), []
    for sign in (1, -1):
        batch.generator.manual_seed(0)
        losses.append(value(method, batch, Told(sign * logits)))
    assert losses[0] < 0.1 * losses[1]
