"""Ranking distillation against loops written from the equations."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp

from bench.distillation import Batch, Knowledge
from bench.distillation.sampling import uniform_outside
from bench.training.output import BlockBuffers, StepOutput
from methods.ranking_only import RankingOnly
from methods.rd import RD

from .conftest import N_ITEMS, make_batch, make_student

K = 10


def attached(
    knowledge: Knowledge, objective: str = "bce", *, hybrid: bool = True, **settings: object
) -> RD:
    method = RD(RD.Config(**settings))
    method.attach(make_student(objective), knowledge)
    method.on_epoch_start(100 if hybrid else 1, 100)
    return method


def output(size: int = 16, seed: int = 0) -> StepOutput:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(size, 8, generator=generator).requires_grad_()
    table = torch.randn(N_ITEMS + 1, 8, generator=generator)
    table[0] = 0
    return StepOutput(hidden, table.requires_grad_(), BlockBuffers())


def dense(out: StepOutput) -> np.ndarray:
    return (out.hidden.detach().double() @ out.table.detach().double().T).numpy()


def without_targets(knowledge: Knowledge, batch: Batch) -> list[list[int]]:
    lists = zip(knowledge.rankings[batch.row_id].tolist(), batch.target.tolist(), strict=True)
    return [[item for item in row if item != target][:K] for row, target in lists]


def exact_ranks(scores: np.ndarray, lists: list[list[int]]) -> list[list[int]]:
    """0-based ranks of the listed items among all items."""
    return [
        [int((row[1:] > row[item]).sum()) for item in items]
        for row, items in zip(scores, lists, strict=True)
    ]


def estimated_ranks(
    scores: np.ndarray, lists: list[list[int]], others: list[list[int]]
) -> list[list[int]]:
    return [
        [
            math.floor((N_ITEMS - 1) * sum(row[o] > row[item] for o in drawn) / len(drawn))
            for item in items
        ]
        for row, items, drawn in zip(scores, lists, others, strict=True)
    ]


def loop_weights(
    ranks: list[list[int]], *, renormalise: bool, mu: float = 0.1
) -> list[list[float]]:
    total, rows = sum(math.exp(-(k + 1)) for k in range(K)), []
    for row in ranks:
        w = [
            math.exp(-(k + 1)) / total * math.tanh(max(mu * (rank - k), 0))
            for k, rank in enumerate(row)
        ]
        rows.append([x / sum(w) for x in w] if renormalise and sum(w) else w)
    return rows


@pytest.mark.parametrize("objective", ["ce", "bpr", "bce"])
def test_before_the_switch_it_is_ranking_only_by_position(
    knowledge: Knowledge, objective: str
) -> None:
    batch, out = make_batch(negative=objective != "ce"), output()
    lists = knowledge.rankings.clone()
    # A target in a list is what sets the two apart.
    lists[lists == batch.target[0]] = int(batch.target[0]) % N_ITEMS + 1
    batch = dataclasses.replace(batch, target=batch.target[:1].expand(16))
    plain = dataclasses.replace(knowledge, rankings=lists)
    ranking = RankingOnly(
        RankingOnly.Config(
            weight=0.5,
            gamma_position=1,
            gamma_confidence=0,
            gamma_consistency=0,
            negative_form="none",
        )
    )
    ranking.attach(make_student(objective), plain)
    before = attached(plain, objective, hybrid=False).loss(batch, out)["ranking"]
    torch.testing.assert_close(before, ranking.loss(batch, out)["ranking"])
    after = attached(plain, objective).loss(batch, out)["ranking"]
    assert not torch.allclose(after, before)


@pytest.mark.parametrize("renormalise", [True, False])
@pytest.mark.parametrize("estimate", ["sampled", "exact"])
@pytest.mark.parametrize("form", ["sigmoid", "softmax"])
def test_loss_and_gradient_equal_a_loop(
    knowledge: Knowledge, form: str, estimate: str, renormalise: bool
) -> None:
    method = attached(
        knowledge, weight=0.5, list_form=form, rank_estimate=estimate, renormalise=renormalise
    )
    batch, out = make_batch(), output()
    scores, lists = dense(out), without_targets(knowledge, batch)
    excluded = torch.cat([batch.history, batch.target.unsqueeze(1)], dim=1)
    state = batch.generator.get_state()
    others = uniform_outside(excluded, 100, N_ITEMS, batch.generator).tolist()
    batch.generator.set_state(state)
    ranks = (
        exact_ranks(scores, lists)
        if estimate == "exact"
        else estimated_ranks(scores, lists, others)
    )
    weights = loop_weights(ranks, renormalise=renormalise)
    total, pull = 0.0, np.zeros((16, N_ITEMS + 1))  # pull: derivative by the logits
    for b, items in enumerate(lists):
        log_mass = logsumexp(scores[b, 1:])
        for w, item in zip(weights[b], items, strict=True):
            s = scores[b, item]
            total -= w * (s - log_mass if form == "softmax" else -math.log1p(math.exp(-s)))
            pull[b, item] -= w * (1 if form == "softmax" else 1 / (1 + math.exp(s)))
            if form == "softmax":
                pull[b, 1:] += w * np.exp(scores[b, 1:] - log_mass)
    loss = method.loss(batch, out)["ranking"]
    assert float(loss.detach()) == pytest.approx(0.5 * total / 16, rel=1e-5)
    loss.backward()
    expected = 0.5 * pull / 16 @ out.table.detach().double().numpy()
    np.testing.assert_allclose(out.hidden.grad, expected, atol=1e-6)


def scored(order: list[list[int]]) -> StepOutput:
    """A student that ranks the items of every row in the given order."""
    scores = torch.zeros(len(order), N_ITEMS)
    for row, items in zip(scores, order, strict=True):
        row[torch.tensor(items) - 1] = torch.linspace(3, -3, len(items))
    table = torch.nn.functional.pad(torch.eye(N_ITEMS), (0, 0, 1, 0))
    return StepOutput(scores.requires_grad_(), table, BlockBuffers())


@pytest.mark.parametrize("estimate", ["sampled", "exact"])
def test_items_ranked_no_lower_than_by_the_teacher_weigh_nothing(
    knowledge: Knowledge, estimate: str
) -> None:
    batch = make_batch()
    lists = without_targets(knowledge, batch)
    rest = [[i for i in range(1, N_ITEMS + 1) if i not in items] for items in lists]
    method = attached(knowledge, rank_estimate=estimate)
    agreed = scored([items + others for items, others in zip(lists, rest, strict=True)])
    items = torch.tensor(lists)
    # The sampled rank may overstate a place by chance, but never that of the first item.
    weights = method.discrepancy(batch, agreed, items)
    assert (weights[:, 0] == 0).all()
    if estimate == "exact":
        assert (weights == 0).all()
        loss = method.loss(batch, agreed)["ranking"]
        loss.backward()
        assert float(loss.detach()) == 0
        assert torch.equal(agreed.hidden.grad, torch.zeros_like(agreed.hidden))
    opposite = scored([others + items[::-1] for items, others in zip(lists, rest, strict=True)])
    assert (method.discrepancy(batch, opposite, items) > 0.5).all()


@given(seed=st.integers(0, 10_000), mu=st.sampled_from([0.1, 0.5, 1.0, 20.0]))
def test_exact_ranks_are_those_of_the_whole_catalogue(seed: int, mu: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    order = [(torch.randperm(N_ITEMS, generator=generator) + 1).tolist() for _ in range(8)]
    lists = torch.rand(8, N_ITEMS, generator=generator).argsort(dim=1)[:, :K] + 1
    knowledge = Knowledge(target_counts=torch.ones(N_ITEMS + 1), rankings=lists)
    method = attached(knowledge, rank_estimate="exact", sharpness=mu)
    expected = [
        [math.tanh(max(mu * (row.index(item) - k), 0)) for k, item in enumerate(items)]
        for row, items in zip(order, lists.tolist(), strict=True)
    ]
    weights = method.discrepancy(make_batch(8), scored(order), lists)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_the_estimate_approaches_the_rank_among_what_may_be_drawn(knowledge: Knowledge) -> None:
    batch, out = make_batch(), output()
    scores, items = dense(out), torch.tensor(without_targets(knowledge, batch))
    estimate = attached(knowledge, samples=20_000)._estimate(batch, out, items)
    for b in range(16):
        barred = {*batch.history[b].tolist(), int(batch.target[b])}
        allowed = [i for i in range(1, N_ITEMS + 1) if i not in barred]
        for k, item in enumerate(items[b].tolist()):
            share = sum(scores[b, i] > scores[b, item] for i in allowed) / len(allowed)
            assert float(estimate[b, k]) == pytest.approx((N_ITEMS - 1) * share, abs=1.5)


def test_the_target_leaves_the_list_and_the_others_move_up(knowledge: Knowledge) -> None:
    batch, out = make_batch(), output()
    batch = dataclasses.replace(batch, target=knowledge.rankings[batch.row_id, 0])
    moved = dataclasses.replace(knowledge, rankings=knowledge.rankings.roll(-1, dims=1))
    elsewhere = dataclasses.replace(batch, target=moved.rankings[batch.row_id, -1])
    with_target = attached(knowledge, hybrid=False).loss(batch, out)["ranking"]
    torch.testing.assert_close(
        with_target, attached(moved, hybrid=False).loss(elsewhere, out)["ranking"]
    )


def test_rows_without_a_list_count_for_nothing(knowledge: Knowledge) -> None:
    batch, out = make_batch(), output()
    one = dataclasses.replace(knowledge, rankings=knowledge.rankings[:, :1])
    target = batch.target.clone()
    target[:8] = one.rankings[batch.row_id[:8], 0]  # nothing is left of these lists
    target[8:] = one.rankings[batch.row_id[8:], 0] % N_ITEMS + 1
    batch = dataclasses.replace(batch, target=target)
    scores = out.scores(one.rankings[batch.row_id[8:16]].expand(8, 1).repeat(2, 1))[8:]
    expected = 0.5 * torch.nn.functional.softplus(-scores).mean()
    torch.testing.assert_close(attached(one, hybrid=False).loss(batch, out)["ranking"], expected)
    covered = knowledge.covered.clone()
    covered[batch.row_id] = False
    silent = attached(dataclasses.replace(knowledge, covered=covered))
    assert float(silent.loss(batch, out)["ranking"].detach()) == 0


def test_discrepancy_counts_after_its_share_of_the_epochs(knowledge: Knowledge) -> None:
    method = attached(knowledge, hybrid_from=0.1)
    seen = []
    for epoch in range(1, 31):
        curve = method.on_epoch_start(epoch, 30)
        seen.append((curve["hybrid"], method.curriculum_finished))
    assert seen == [(0.0, False)] * 3 + [(1.0, True)] * 27
    at_once = attached(knowledge, hybrid_from=0)
    assert at_once.on_epoch_start(1, 30) == {"hybrid": 1.0}


def test_without_a_weight_early_stopping_is_that_of_none(knowledge: Knowledge) -> None:
    method = attached(knowledge, weight=0.0)
    method.on_epoch_start(1, 30)
    assert method.curriculum_finished
