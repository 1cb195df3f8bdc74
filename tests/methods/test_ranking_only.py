"""The ranking half of DLLM2Rec against loops written from the equations."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from bench.config.methods import read_method
from bench.distillation import Batch, Knowledge
from bench.distillation.losses import popularity_exponents
from bench.paths import SHIPPED, Workspace
from bench.registry import METHODS
from bench.training.output import BlockBuffers, StepOutput
from methods.ranking_only import RankingOnly

from .conftest import N_ITEMS, dense, make_batch, make_student, output

VARIANTS = read_method(METHODS.get("ranking-only"), Workspace(SHIPPED)).variants
OFFICIAL, PAPER = VARIANTS["official_code"], VARIANTS["paper"]


def attached(knowledge: Knowledge, objective: str = "bce", **settings: object) -> RankingOnly:
    method = RankingOnly(RankingOnly.Config(**settings))
    method.attach(make_student(objective), knowledge)
    return method


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def loop_weights(
    knowledge: Knowledge, batch: Batch, scores: np.ndarray, *, scale: float, floor: float
) -> np.ndarray:
    """Row-normalised weights, candidate confidence, K = 10, published gammas."""
    k, rows = 10, []
    position = [math.exp(-(rank + 1)) for rank in range(k)]
    position = [p / sum(position) for p in position]
    for b, r in enumerate(batch.row_id.tolist()):
        items = knowledge.rankings[r, :k].tolist()
        sure = [math.exp(-float(d) / scale) + floor for d in knowledge.distances[r, :k]]
        sure = [c / sum(sure) for c in sure]
        own = set((np.argsort(-scores[b, 1:])[:k] + 1).tolist())
        w = [
            0.3 * p + 0.5 * c + 0.1 * (1 if i in own else 0)
            for p, c, i in zip(position, sure, items, strict=True)
        ]
        rows.append([x / sum(w) for x in w])
    return np.array(rows)


def test_position_weights_are_the_published_ten_numbers(knowledge: Knowledge) -> None:
    expected = [
        0.63215, 0.23255, 0.08555, 0.03147, 0.01158, 0.00426, 0.00157, 0.00058, 0.00021, 0.00008,
    ]  # fmt: skip
    np.testing.assert_allclose(attached(knowledge).position, expected, atol=6e-6)


def test_one_item_by_position_is_softplus_of_the_first(knowledge: Knowledge) -> None:
    method = attached(
        knowledge,
        weight=1.0,
        top_k=1,
        gamma_position=1.0,
        gamma_confidence=0.0,
        gamma_consistency=0.0,
        negative_form="none",
    )
    batch, out = make_batch(negative=True), output()
    first = knowledge.rankings[batch.row_id, :1]
    expected = torch.nn.functional.softplus(-out.scores(first)).mean()
    torch.testing.assert_close(method.loss(batch, out)["ranking"], expected)


def test_consistency_of_equal_and_of_disjoint_lists(knowledge: Knowledge) -> None:
    batch, out = make_batch(), output()
    own = out.top_k(10)
    lists = knowledge.rankings.clone()
    lists[batch.row_id, :10] = own
    same = attached(dataclasses.replace(knowledge, rankings=lists))
    weights = same.weights(batch, out, own)
    plain = attached(knowledge, gamma_consistency=0.0).weights(batch, out, own)
    assert torch.equal(same._consistency(batch, out, own), torch.ones_like(weights))
    assert (weights.std(dim=1) < plain.std(dim=1)).all()  # towards uniform
    worst = torch.argsort(out.logits[:, 1:], dim=1)[:, :10] + 1
    assert torch.equal(same._consistency(batch, out, worst), torch.zeros_like(weights))


def test_overlap_can_leave_the_history_out(knowledge: Knowledge) -> None:
    batch, out = make_batch(), output()
    method = attached(knowledge, overlap="exclude-history")
    scores = dense(out)
    for b in range(len(batch.row_id)):
        scores[b, batch.history[b].numpy()] = -np.inf
    own = np.argsort(-scores[:, 1:], axis=1)[:, :10] + 1
    items = knowledge.rankings[batch.row_id, :10]
    expected = [[float(i in set(own[b])) for i in row] for b, row in enumerate(items.tolist())]
    assert method._consistency(batch, out, items).tolist() == expected


def test_a_small_catalogue_does_not_bring_the_history_back(knowledge: Knowledge) -> None:
    batch, out = make_batch(), output()
    everything = torch.arange(1, N_ITEMS + 1).expand(len(knowledge.rankings), -1)
    whole = dataclasses.replace(
        knowledge, rankings=everything, distances=everything.to(torch.float32)
    )
    method = attached(whole, overlap="exclude-history", top_k=N_ITEMS)
    own = method._consistency(batch, out, everything[batch.row_id])
    for b, history in enumerate(batch.history.tolist()):
        assert own[b].tolist() == [float(i not in history) for i in range(1, N_ITEMS + 1)]


@pytest.mark.parametrize("form", ["correct", "shifted"])
def test_closed_form_equals_the_programs_loop(knowledge: Knowledge, form: str) -> None:
    near = dataclasses.replace(knowledge, distances=knowledge.distances - 19)
    method = attached(near, weight=1.0, **(OFFICIAL | {"robust": "none", "negative_form": form}))
    batch, out = make_batch(negative=True), output()
    scores = dense(out)
    weights = loop_weights(near, batch, scores, scale=1.0, floor=1e-8)
    total = 0.0
    for b, r in enumerate(batch.row_id.tolist()):
        s_neg = scores[b, int(batch.negative[b])]
        push = 1 - sigmoid(s_neg) if form == "correct" else sigmoid(1 - s_neg)
        for k, item in enumerate(near.rankings[r, :10].tolist()):
            total -= weights[b, k] * (math.log(sigmoid(scores[b, item])) + math.log(push))
    expected = total / len(batch.row_id)
    assert float(method.loss(batch, out)["ranking"].detach()) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("confidence", ["candidate", "ground-truth"])
def test_a_teacher_that_is_as_sure_of_everything_weighs_it_alike(
    knowledge: Knowledge, confidence: str
) -> None:
    level = dataclasses.replace(
        knowledge,
        distances=torch.full_like(knowledge.distances, 31.0),
        truth_distance=torch.full_like(knowledge.truth_distance, 31.0),
    )
    sure = attached(level, confidence=confidence, renormalise=False).confidence
    torch.testing.assert_close(sure, sure[:1, :1].expand_as(sure))
    assert (sure > 0).all() and torch.isfinite(sure).all()


@pytest.mark.parametrize("form", ["broadcast", "correct"])
def test_robust_terms_of_the_list(knowledge: Knowledge, form: str) -> None:
    method = attached(knowledge, "dros", weight=0.7, robust=form, robust_weight=0.5)
    batch, out = make_batch(negative=True), output()
    scores, ps = dense(out), popularity_exponents(knowledge.target_counts).double().numpy()
    scale = float(knowledge.distances[:, :10].std())
    weights = loop_weights(knowledge, batch, scores, scale=scale, floor=0.0)
    robust = np.zeros_like(weights)
    for b, r in enumerate(batch.row_id.tolist()):
        for k, item in enumerate(knowledge.rankings[r, :10].tolist()):
            shifted = scores[b].copy()
            shifted[item] -= 1
            robust[b, k] = logsumexp((ps * shifted**2)[1:])
    if form == "broadcast":
        expected = (weights.mean(axis=0) * robust.mean(axis=0)).sum()
    else:
        expected = (weights * robust).sum(axis=1).mean()
    term = method.loss(batch, out)["ranking_robust"]
    assert float(term.detach()) == pytest.approx(0.35 * expected, rel=1e-5)


def test_softmax_form_equals_a_loop(knowledge: Knowledge) -> None:
    method = attached(knowledge, "ce", weight=0.8)
    batch, out = make_batch(), output()
    scores = dense(out)
    scale = float(knowledge.distances[:, :10].std())
    weights = loop_weights(knowledge, batch, scores, scale=scale, floor=0.0)
    total = 0.0
    for b, r in enumerate(batch.row_id.tolist()):
        log = scores[b, 1:] - logsumexp(scores[b, 1:])
        total -= sum(
            weights[b, k] * log[i - 1] for k, i in enumerate(knowledge.rankings[r, :10].tolist())
        )
    expected = 0.8 * total / len(batch.row_id)
    assert float(method.loss(batch, out)["ranking"].detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("form", "shift"), [("correct", 0.0), ("shifted", 1.0)])
def test_gradient_on_the_negative(knowledge: Knowledge, form: str, shift: float) -> None:
    method = attached(knowledge, weight=0.7, negative_form=form)
    batch = make_batch(negative=True)

    class Recorded(StepOutput):
        def scores(self, ids: torch.Tensor) -> torch.Tensor:
            result = super().scores(ids)
            if ids.shape[1] == 1:
                result.retain_grad()
                self.negative = result
            return result

    base = output()
    out = Recorded(base.hidden, base.table, BlockBuffers())
    method.loss(batch, out)["ranking"].backward()
    expected = 0.7 * torch.sigmoid(out.negative.detach() - shift) / len(batch.row_id)
    torch.testing.assert_close(out.negative.grad, expected)


@pytest.mark.parametrize("settings", [{}, PAPER, {"list_form": "softmax"}])
def test_gradient_equals_finite_differences(knowledge: Knowledge, settings: dict) -> None:
    doubles = Knowledge(
        **{
            name: value.double() if torch.is_tensor(value) and value.is_floating_point() else value
            for name, value in vars(knowledge).items()
        }
    )
    # The consistency weight jumps where the student's top-K changes, hence without it.
    method = attached(doubles, gamma_consistency=0.0, **settings)
    method.position = method.position.double()
    batch, base = make_batch(4, negative=True), output(4)

    def loss(hidden: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        return method.loss(batch, StepOutput(hidden, table, BlockBuffers()))["ranking"]

    inputs = (base.hidden.detach().double(), base.table.detach().double())
    assert torch.autograd.gradcheck(loss, tuple(t.requires_grad_() for t in inputs))


def test_paper_confidence_is_one_number_a_row_with_mean_one_over_k(knowledge: Knowledge) -> None:
    method = attached(knowledge, **PAPER)
    assert method.confidence.shape == (64, 10)
    assert (method.confidence == method.confidence[:, :1]).all()
    assert float(method.confidence[:, 0].mean()) == pytest.approx(0.1)
    order = knowledge.truth_distance.argsort()
    assert (method.confidence[order, 0].diff() <= 0).all()


def test_large_distances_do_not_flatten_the_default_confidence(knowledge: Knowledge) -> None:
    far = dataclasses.replace(knowledge, distances=knowledge.distances + 60)
    default = attached(far).confidence
    torch.testing.assert_close(default, attached(knowledge).confidence, atol=1e-4, rtol=1e-3)
    official = attached(far, **OFFICIAL).confidence
    torch.testing.assert_close(official, torch.full_like(official, 0.1), atol=1e-6, rtol=1e-4)


def test_rows_and_keys_permuted_together_change_nothing(knowledge: Knowledge) -> None:
    batch, out = make_batch(negative=True), output()
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    inverse = order.argsort()
    moved = dataclasses.replace(
        knowledge, rankings=knowledge.rankings[order], distances=knowledge.distances[order]
    )
    there = dataclasses.replace(batch, row_id=inverse[batch.row_id])
    before = attached(knowledge).loss(batch, out)["ranking"]
    torch.testing.assert_close(attached(moved).loss(there, out)["ranking"], before)
    assert not torch.allclose(attached(moved).loss(batch, out)["ranking"], before)
    lists_alone = dataclasses.replace(knowledge, rankings=moved.rankings)
    assert not torch.allclose(attached(lists_alone).loss(batch, out)["ranking"], before)


def test_uncovered_rows_weigh_nothing(knowledge: Knowledge) -> None:
    batch, out = make_batch(negative=True), output()
    covered = knowledge.covered.clone()
    covered[batch.row_id[8:]] = False
    partial = dataclasses.replace(knowledge, covered=covered)
    method = attached(partial, confidence_temperature=2.0)
    half = dataclasses.replace(
        batch, row_id=batch.row_id[:8], history=batch.history[:8], negative=batch.negative[:8]
    )
    head = StepOutput(out.hidden[:8], out.table, BlockBuffers())
    full = attached(knowledge, confidence_temperature=2.0)
    torch.testing.assert_close(method.loss(batch, out)["ranking"], full.loss(half, head)["ranking"])


def test_a_teacher_with_fewer_items_than_k_is_used_as_it_is(knowledge: Knowledge) -> None:
    short = dataclasses.replace(
        knowledge, rankings=knowledge.rankings[:, :3], distances=knowledge.distances[:, :3]
    )
    method = attached(short)
    assert method.position.sum() == pytest.approx(1.0)
    assert torch.isfinite(method.loss(make_batch(negative=True), output())["ranking"])


def test_a_confidence_that_would_be_cancelled_is_refused() -> None:
    with pytest.raises(ValueError, match="set renormalise=false"):
        RankingOnly.Config(confidence="ground-truth")


@pytest.mark.parametrize("form", ["correct", "shifted"])
def test_a_push_on_a_negative_that_ce_does_not_sample_is_refused(
    knowledge: Knowledge, form: str
) -> None:
    with pytest.raises(ValueError, match="ce samples none"):
        attached(knowledge, "ce", negative_form=form)


def test_signals_follow_the_confidence() -> None:
    assert RankingOnly.signals(RankingOnly.Config()) == {"rankings", "confidence"}
    assert RankingOnly.signals(RankingOnly.Config(**PAPER)) == {"rankings", "truth-distance"}
