"""CD against loops written from its equations."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from bench.distillation import Knowledge
from methods.cd import CollaborativeDistillation

from .conftest import LISTED, N_ITEMS, make_batch, make_student
from .listwise import Told, filtered, seen, told


def attached(knowledge: Knowledge, **settings: object) -> CollaborativeDistillation:
    method = CollaborativeDistillation(CollaborativeDistillation.Config(**settings))
    method.attach(make_student(), knowledge)
    return method


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def soft_labels(knowledge: Knowledge, row: int, t1: float, t2: float) -> dict[int, float]:
    """q of every listed item, and under 0 that of an unlisted one."""
    distances = [float(d) for d in knowledge.distances[row]]
    mean = sum(distances) / len(distances)
    spread = math.sqrt(sum((d - mean) ** 2 for d in distances) / len(distances))
    labels = [sigmoid(((mean - d) / (spread + 1e-6) + t2) / t1) for d in distances]
    return dict(zip(knowledge.rankings[row].tolist(), labels, strict=True)) | {0: labels[-1]}


@pytest.mark.parametrize(("t1", "t2"), [(1.0, 0.0), (2.0, 0.0), (0.5, 4.0)])
@pytest.mark.parametrize("samples", [6, 500])
def test_equals_the_equation_for_the_items_it_drew(
    knowledge: Knowledge, t1: float, t2: float, samples: int
) -> None:
    method = attached(knowledge, weight=0.7, samples=samples, temperature=t1, shift=t2)
    batch, out = make_batch(), told()
    found = float(method.loss(batch, out)["cd"].detach())
    rows = []
    for b, scores in enumerate(out.hidden.tolist()):
        labels = soft_labels(knowledge, int(batch.row_id[b]), t1, t2)
        # A place of an impossible item is asked as well, where the pool is drawn as a whole.
        items = set(out.asked[-1][b].tolist()) - seen(batch, b) - {0}
        values = []
        for i in items:
            p, q = sigmoid(scores[i]), labels.get(i, labels[0])
            values.append(-(q * math.log(p) + (1 - q) * math.log(1 - p)))
        assert len(values) == samples or samples == 500
        rows.append(sum(values) / len(values))
    assert found == pytest.approx(0.7 * sum(rows) / len(rows), rel=1e-5)


def test_the_pool_is_the_list_and_different_unlisted_items(knowledge: Knowledge) -> None:
    batch = make_batch()
    pool, usable = attached(knowledge, unlisted=30)._pool(batch)
    for b in range(16):
        items = pool[b][usable[b]].tolist()
        listed = filtered(knowledge, batch, b)
        assert len(items) == len(set(items))
        assert items[: len(listed)] == listed
        rest = items[len(listed) :]
        assert rest
        assert not set(rest) & (set(knowledge.rankings[batch.row_id[b]].tolist()) | {0})
        assert not set(items) & seen(batch, b)


def test_without_unlisted_items_only_the_list_is_taught(knowledge: Knowledge) -> None:
    batch, out = make_batch(), told()
    attached(knowledge, unlisted=0).loss(batch, out)["cd"].backward()
    for b in range(16):
        touched = set(out.hidden.grad[b].nonzero()[:, 0].tolist())
        assert touched == set(filtered(knowledge, batch, b))


@pytest.mark.parametrize("guide", ["student", "teacher"])
@pytest.mark.parametrize("sampler", ["linear", "exponential", "uniform"])
def test_probabilities_follow_the_rank(knowledge: Knowledge, guide: str, sampler: str) -> None:
    method = attached(knowledge, guide=guide, sampler=sampler, decay=3.0, unlisted=4)
    batch, out = make_batch(), told()
    pool, usable = method._pool(batch)
    found = method._log_weights(pool, usable, out).softmax(dim=1)
    for b, scores in enumerate(out.hidden.tolist()):
        items = pool[b][usable[b]].tolist()
        ordered = sorted(items, key=lambda i: -scores[i]) if guide == "student" else items
        count = len(ordered)
        weight = {
            "linear": lambda rank, count=count: 1 - rank / count,
            "exponential": lambda rank, count=count: math.exp(-(rank + 1) / 3),
            "uniform": lambda rank, count=count: 1.0,
        }[sampler]
        expected = np.array([weight(ordered.index(i)) for i in items])
        np.testing.assert_allclose(found[b][usable[b]], expected / expected.sum(), rtol=1e-4)
        assert not found[b][~usable[b]].any()


def test_the_student_guide_sees_the_student_as_it_is_now(knowledge: Knowledge) -> None:
    batch = make_batch()
    asked = []
    for sign in (1, -1):
        out = Told(sign * 10 * told().hidden.detach())
        batch.generator.manual_seed(1)
        method = attached(knowledge, samples=5, sampler="exponential", decay=1.0)
        method.loss(batch, out)
        asked.append(out.asked[-1])
        mean = out.hidden.gather(1, out.asked[0]).mean()
        assert out.hidden.gather(1, asked[-1]).mean() > mean + 5
    assert not torch.equal(*asked)


def test_gradient_is_probability_less_label(knowledge: Knowledge) -> None:
    method, batch, out = attached(knowledge, weight=1.0, unlisted=0), make_batch(), told()
    method.loss(batch, out)["cd"].backward()
    for b, scores in enumerate(out.hidden.tolist()):
        labels = soft_labels(knowledge, int(batch.row_id[b]), 1.0, 0.0)
        listed = filtered(knowledge, batch, b)
        expected = [(sigmoid(scores[i]) - labels[i]) / len(listed) / 16 for i in listed]
        np.testing.assert_allclose(out.hidden.grad[b, listed], expected, atol=1e-6)


def test_labels_depend_neither_on_the_origin_nor_the_unit_of_distances(
    knowledge: Knowledge,
) -> None:
    batch = make_batch()
    plain = attached(knowledge).soft_labels(batch.row_id)
    other = dataclasses.replace(knowledge, distances=knowledge.distances * 7 + 60)
    torch.testing.assert_close(attached(other).soft_labels(batch.row_id), plain)
    assert (plain[:, :LISTED].diff(dim=1) <= 0).all()
    assert (plain[:, LISTED:] == plain[:, LISTED - 1 : LISTED]).all()


def test_a_teacher_that_cannot_tell_its_items_apart(knowledge: Knowledge) -> None:
    for flat in (
        dataclasses.replace(knowledge, distances=torch.full_like(knowledge.distances, 31.0)),
        dataclasses.replace(
            knowledge, rankings=knowledge.rankings[:, :1], distances=knowledge.distances[:, :1]
        ),
    ):
        labels = attached(flat).soft_labels(make_batch().row_id)
        torch.testing.assert_close(labels, torch.full_like(labels, 0.5))


def test_rows_without_a_teacher_weigh_nothing(knowledge: Knowledge) -> None:
    batch, out = make_batch(), told()
    covered = knowledge.covered.clone()
    covered[batch.row_id[8:]] = False
    attached(dataclasses.replace(knowledge, covered=covered)).loss(batch, out)["cd"].backward()
    assert out.hidden.grad[:8].any(dim=1).all()
    assert not out.hidden.grad[8:].any()


def test_a_catalogue_that_is_listed_as_a_whole(knowledge: Knowledge) -> None:
    order = torch.rand(64, N_ITEMS, generator=torch.Generator().manual_seed(3)).argsort(dim=1) + 1
    distances = torch.arange(N_ITEMS).float().expand(64, -1)
    batch, out = make_batch(), told()
    method = attached(dataclasses.replace(knowledge, rankings=order, distances=distances))
    pool, usable = method._pool(batch)
    assert not pool[:, N_ITEMS:].any()
    assert not usable[:, N_ITEMS:].any()
    method.loss(batch, out)["cd"].backward()
    assert torch.isfinite(out.hidden.grad).all()
    assert not out.hidden.grad[:, 0].any()


def test_items_of_vectors_have_labels_of_their_own(knowledge: Knowledge) -> None:
    batch, out = make_batch(), told()
    method = attached(knowledge, scores="product", best=5, unlisted=7, samples=12, weight=1.0)
    assert method.signals(method.config) == {"histories", "embeddings"}
    q = knowledge.histories[batch.row_id].double()
    scores = q @ knowledge.embeddings[1:].double().T
    mean, std = scores.mean(dim=1, keepdim=True), scores.std(dim=1, correction=0, keepdim=True)
    best = scores.topk(5, dim=1).indices + 1
    state = batch.generator.get_state()
    pool, usable = method._pool(batch, best)
    batch.generator.set_state(state)
    found = float(method.loss(batch, out)["cd"].detach())
    assert torch.equal(pool[:, :5], best)
    # The whole pool is drawn, so that the loss is the mean over all that can be.
    total = 0.0
    for b in range(len(pool)):
        items = pool[b][usable[b]]
        soft = torch.sigmoid(((scores - mean) / std)[b, items - 1])
        logits = out.logits[b, items].detach()
        values = torch.nn.functional.binary_cross_entropy_with_logits(logits, soft)
        total += float(values)
    assert found == pytest.approx(total / len(pool), rel=1e-4)
