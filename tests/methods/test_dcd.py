"""DCD against loops written from its equations."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from bench.distillation import Knowledge
from methods.dcd import DualCorrection

from .conftest import N_ITEMS, make_batch, make_student
from .listwise import Told, filtered, seen, told


def attached(knowledge: Knowledge, **settings: object) -> DualCorrection:
    method = DualCorrection(DualCorrection.Config(**settings))
    method.attach(make_student(), knowledge)
    return method


def lags(scores: list[float], listed: list[int]) -> dict[int, int]:
    """Rank by the student less rank by the teacher, for the items of a list."""
    by_student = sorted(listed, key=lambda item: -scores[item])
    return {item: by_student.index(item) - listed.index(item) for item in listed}


def draws(out: Told) -> tuple[list[list[int]], list[list[int]]]:
    """Over- and under-estimated items that were scored with gradients."""
    above, below = out.asked[-2:]
    return above.tolist(), below.tolist()


def by_hand(scores: list[float], below: list[int], above: list[int]) -> float:
    total = 0.0
    for k, item in enumerate(below):
        mass = sum(math.exp(scores[i]) for i in below[k:] + above)
        total -= math.log(math.exp(scores[item]) / mass)
    return total


def test_equals_the_equation_for_the_items_it_drew(knowledge: Knowledge) -> None:
    batch, out = make_batch(), told()
    method = attached(knowledge, weight=0.7, under=3, over=4)
    found = float(method.loss(batch, out)["dcd"].detach())
    rows = [
        by_hand(scores, below, above) / 3
        for scores, above, below in zip(out.hidden.tolist(), *draws(out), strict=True)
    ]
    assert found == pytest.approx(0.7 * sum(rows) / len(rows))


def test_discrepancies_are_those_of_the_filtered_list(knowledge: Knowledge) -> None:
    method, batch, out = attached(knowledge), make_batch(), told()
    method.loss(batch, out)
    pool = out.asked[0]
    found = method.discrepancy(out.hidden.gather(1, pool), pool > 0)
    for b, scores in enumerate(out.hidden.tolist()):
        listed = filtered(knowledge, batch, b)
        assert pool[b, : len(listed)].tolist() == listed
        assert found[b, : len(listed)].tolist() == list(lags(scores, listed).values())


def test_only_errors_of_the_right_sign_are_drawn_and_in_the_teachers_order(
    knowledge: Knowledge,
) -> None:
    method = attached(knowledge, floor=0.0)
    generator = torch.Generator().manual_seed(5)
    lag = torch.randint(-4, 5, (200, 12), generator=generator)
    usable = torch.rand(200, 12, generator=generator) < 0.8
    places, exists = method._draw(lag, usable, 4, generator)
    for b in range(200):
        lagging = {p for p in range(12) if lag[b, p] > 0 and usable[b, p]}
        drawn = places[b][exists[b]].tolist()
        assert drawn == sorted(set(drawn))
        assert set(drawn) <= lagging
        assert len(drawn) == min(4, len(lagging))


def test_draws_follow_the_size_of_the_error(knowledge: Knowledge) -> None:
    method = attached(knowledge, steepness=0.1)
    lag = torch.tensor([[0, 2, -9, 7]]).expand(30_000, -1)
    usable = torch.ones_like(lag, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    places, _ = method._draw(lag, usable, 1, generator)
    share = torch.bincount(places[:, 0], minlength=4) / len(places)
    small, large = math.tanh(0.2), math.tanh(0.7)
    expected = [0.0, small / (small + large), 0.0, large / (small + large)]
    torch.testing.assert_close(share, torch.tensor(expected), atol=0.01, rtol=0)
    places, _ = method._draw(-lag, usable, 1, generator)
    assert (places == 2).double().mean() > 0.999


def test_the_floor_fills_up_a_draw_and_without_it_the_draw_stays_short(
    knowledge: Knowledge,
) -> None:
    lag, usable = torch.tensor([[0, 3, 0, -3, 0]]), torch.tensor([[True] * 4 + [False]])
    filled, possible = attached(knowledge)._draw(lag, usable, 3, torch.Generator())
    assert possible.all()
    assert 1 in filled
    short, possible = attached(knowledge, floor=0.0)._draw(lag, usable, 3, torch.Generator())
    assert short[possible].tolist() == [1]


def test_a_student_that_agrees_with_the_teacher_has_nothing_to_correct(
    knowledge: Knowledge,
) -> None:
    batch = make_batch()
    logits = torch.zeros(16, N_ITEMS + 1)
    for b in range(16):
        for place, item in enumerate(filtered(knowledge, batch, b)):
            logits[b, item] = 15.0 - place
    tied = torch.zeros_like(logits)  # ties are resolved as the teacher does
    for values in (logits, tied):
        out = Told(values.requires_grad_())
        term = attached(knowledge, floor=0.0).loss(batch, out)["dcd"]
        term.backward()
        assert term == 0
        assert not out.hidden.grad.any()


def test_descent_lifts_what_lags_and_lowers_what_leads(knowledge: Knowledge) -> None:
    batch, out = make_batch(), told()
    attached(knowledge, floor=0.0).loss(batch, out)["dcd"].backward()
    for b, scores in enumerate(out.hidden.tolist()):
        listed, gradient = filtered(knowledge, batch, b), out.hidden.grad[b]
        lag = lags(scores, listed)
        leads = [i for i in listed if lag[i] < 0 and gradient[i] != 0]
        lifted = [i for i in listed if lag[i] > 0 and gradient[i] != 0]
        assert (gradient[leads] > 0).all()
        assert gradient[lifted[0]] < 0  # the teacher's best of what lags
        others = set(range(N_ITEMS + 1)) - set(leads) - set(lifted)
        assert not gradient[sorted(others)].any()


def test_gradient_equals_finite_differences(knowledge: Knowledge) -> None:
    method, batch = attached(knowledge), make_batch(3)

    def loss(logits: torch.Tensor) -> torch.Tensor:
        batch.generator.manual_seed(3)  # the same draws at every point
        return method.loss(batch, Told(logits))["dcd"]

    assert torch.autograd.gradcheck(loss, (told(3).hidden,))


@pytest.mark.parametrize("stored", [1, 2, 5])
def test_short_lists_are_split_in_halves(knowledge: Knowledge, stored: int) -> None:
    short = dataclasses.replace(knowledge, rankings=knowledge.rankings[:, :stored])
    method, batch, out = attached(short), make_batch(), told()
    assert method.derived == {"under": max(1, stored // 2), "over": max(1, stored // 2)}
    term = method.loss(batch, out)["dcd"]
    term.backward()
    assert torch.isfinite(term)
    assert torch.isfinite(out.hidden.grad).all()


def test_rows_without_a_usable_item_weigh_nothing(knowledge: Knowledge) -> None:
    batch, out = make_batch(), told()
    covered = knowledge.covered.clone()
    covered[batch.row_id[8:]] = False
    method = attached(dataclasses.replace(knowledge, covered=covered))
    method.loss(batch, out)["dcd"].backward()
    assert out.hidden.grad[:8].any(dim=1).all()
    assert not out.hidden.grad[8:].any()


def test_history_and_target_are_never_ranked(knowledge: Knowledge) -> None:
    batch, out = make_batch(), told()
    attached(knowledge).loss(batch, out)["dcd"].backward()
    for b in range(16):
        assert not out.hidden.grad[b, sorted(seen(batch, b) | {0})].any()


def test_a_pool_of_all_items_is_that_of_the_best_scores(knowledge: Knowledge) -> None:
    batch, out = make_batch(), told()
    method = attached(knowledge, scores="product", pool=8)
    assert method.signals(method.config) == {"histories", "embeddings"}
    assert method.derived == {"under": 4, "over": 4}
    pool, usable = method.lists.take(batch, 8)
    assert usable.all()
    for b, row in enumerate(batch.row_id.tolist()):
        scores = knowledge.embeddings[1:] @ knowledge.histories[row]
        ranked = (scores.argsort(descending=True) + 1).tolist()
        assert pool[b].tolist() == [i for i in ranked if i not in seen(batch, b)][:8]
    assert torch.isfinite(method.loss(batch, out)["dcd"])
