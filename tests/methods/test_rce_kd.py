"""RCE-KD against loops written from its equations."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from bench.distillation import Knowledge
from bench.distillation.teacher_scores import teacher_scores
from methods.rce_kd import RejuvenatedCrossEntropy

from .conftest import LISTED, N_ITEMS, make_batch, make_student
from .listwise import Told, told


def attached(knowledge: Knowledge, **settings: object) -> RejuvenatedCrossEntropy:
    method = RejuvenatedCrossEntropy(RejuvenatedCrossEntropy.Config(**settings))
    method.attach(make_student(), knowledge)
    return method


def cross_entropy(items: set[int], teacher: dict[int, float], student: dict[int, float]) -> float:
    """Of softmaxes over `items` alone."""
    t_mass = sum(math.exp(teacher[i]) for i in items)
    s_mass = sum(math.exp(student[i]) for i in items)
    return -sum(
        math.exp(teacher[i]) / t_mass * math.log(math.exp(student[i]) / s_mass) for i in items
    )


def scores(knowledge: Knowledge, out: Told, row_id: int, b: int, **asked: Any) -> tuple:
    source, temperature = asked.get("source", "listed"), asked.get("temperature", 1.0)
    teacher = teacher_scores(knowledge, source)(torch.tensor([row_id])).all()[0]
    student = out.logits[b, 1:].detach()
    return tuple(
        {i + 1: float(v) / temperature for i, v in enumerate(values)}
        for values in (teacher, student)
    )


def best(values: dict[int, float], k: int) -> list[int]:
    return sorted(values, key=lambda item: -values[item])[:k]


K = 6


@pytest.mark.parametrize("source", ["listed", "product", "distance"])
@pytest.mark.parametrize("temperature", [1.0, 10.0])
@pytest.mark.parametrize("items", ["student", "teacher", "union", "all"])
def test_one_set_equals_a_loop(
    knowledge: Knowledge, items: str, temperature: float, source: str
) -> None:
    batch, out = make_batch(), told()
    method = attached(knowledge, items=items, top_k=K, temperature=temperature, scores=source)
    values = method.cross_entropy(batch, out).detach()
    for b, row in enumerate(batch.row_id.tolist()):
        teacher, student = scores(knowledge, out, row, b, temperature=temperature, source=source)
        own, wanted = set(best(student, K)), set(best(teacher, K))
        chosen = {
            "student": own,
            "teacher": wanted,
            "union": own | wanted,
            "all": set(range(1, N_ITEMS + 1)),
        }[items]
        expected = cross_entropy(chosen, teacher, student)
        assert float(values[b]) == pytest.approx(expected, rel=1e-5)


def test_two_sets_equal_a_loop_where_the_whole_pool_is_drawn(knowledge: Knowledge) -> None:
    batch, out = make_batch(), told()
    pool = 9
    values = (
        attached(knowledge, top_k=K, pool=pool, sampled=pool).cross_entropy(batch, out).detach()
    )
    for b, row in enumerate(batch.row_id.tolist()):
        teacher, student = scores(knowledge, out, row, b)
        own, wanted = set(best(student, K)), set(best(teacher, K))
        second = set(best(student, pool)) | (wanted - own)
        gamma = math.exp(-5 * len(own & wanted) / K)
        expected = (1 - gamma) * cross_entropy(own, teacher, student)
        expected += gamma * cross_entropy(second, teacher, student)
        assert float(values[b]) == pytest.approx(expected, rel=1e-5)


def test_items_are_drawn_by_how_many_of_the_teachers_stand_below(knowledge: Knowledge) -> None:
    # One teacher item on top of the student's pool, one in the middle; the third is beyond it.
    best_of_all = torch.arange(1, 11)
    wanted = torch.tensor([[1, 5, 40]])
    method = attached(knowledge, sampled=1, pool=8, sampling_temperature=0.5)
    batch = dataclasses.replace(make_batch(1), generator=torch.Generator().manual_seed(0))
    rounds = 20_000
    drawn = method._drawn(batch, wanted.expand(rounds, -1), best_of_all.expand(rounds, -1))
    found = np.bincount(drawn.flatten(), minlength=11)[1:] / rounds
    below = np.array([2, 2, 2, 2, 1, 1, 1, 1])
    chances = np.exp((below + 1) / 0.5)
    np.testing.assert_allclose(found[:8], chances / chances.sum(), atol=0.01)
    assert not found[8:].any()


def test_a_student_that_ranks_as_the_teacher_learns_its_own_set(knowledge: Knowledge) -> None:
    batch = make_batch()
    teacher = teacher_scores(knowledge, "listed")(batch.row_id).all().double()
    out = Told(torch.nn.functional.pad(teacher, (1, 0)).requires_grad_())
    method = attached(knowledge, top_k=K, decay=50.0)
    alone = attached(knowledge, top_k=K, items="student")
    values = method.cross_entropy(batch, out)
    torch.testing.assert_close(values, alone.cross_entropy(batch, out))
    values.sum().backward()
    assert out.hidden.grad.abs().max() < 1e-6  # the softmaxes are the same


@pytest.mark.parametrize(("source", "count"), [("listed", LISTED), ("product", N_ITEMS)])
def test_a_set_is_no_larger_than_what_there_is(
    knowledge: Knowledge, source: str, count: int
) -> None:
    method = attached(knowledge, scores=source)
    assert method.derived == {"top_k": count}
    needed = {"listed": {"rankings", "confidence"}, "product": {"histories", "embeddings"}}
    assert method.signals(method.config) == needed[source]


def test_uncovered_rows_weigh_nothing(knowledge: Knowledge) -> None:
    batch, out = make_batch(), told()
    covered = knowledge.covered.clone()
    covered[batch.row_id[8:]] = False
    partial = dataclasses.replace(knowledge, covered=covered)
    method = attached(partial, weight=0.3, items="teacher")
    found = method.loss(batch, out)["rce"]
    torch.testing.assert_close(found, 0.3 * method.cross_entropy(batch, out)[:8].mean())
