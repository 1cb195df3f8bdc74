"""DKD against its equations in float64, and against plain distillation, of which it is a split."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bench.distillation import Batch, Knowledge
from methods.dkd import DecoupledDistillation

from .conftest import LISTED, N_ITEMS, N_ROWS, make_batch, make_student
from .listwise import Told, told


def attached(knowledge: Knowledge, **settings: object) -> DecoupledDistillation:
    method = DecoupledDistillation(DecoupledDistillation.Config(**settings))
    method.attach(make_student(), knowledge)
    return method


def precise(knowledge: Knowledge) -> Knowledge:
    return dataclasses.replace(knowledge, distances=knowledge.distances.double())


@pytest.fixture
def complete(knowledge: Knowledge) -> Knowledge:
    """A teacher whose lists hold every item."""
    generator = torch.Generator().manual_seed(1)
    distances = torch.rand(N_ROWS, N_ITEMS, generator=generator, dtype=torch.float64)
    order = torch.rand(N_ROWS, N_ITEMS, generator=generator).argsort(dim=1) + 1
    return dataclasses.replace(
        knowledge, rankings=order, distances=distances.sort(dim=1).values * 9
    )


def softmax(values: np.ndarray) -> np.ndarray:
    return np.exp(values) / np.exp(values).sum()


def kl(wanted: np.ndarray, said: np.ndarray) -> float:
    return float((wanted * np.log(wanted / said)).sum())


def standardised(distances: np.ndarray) -> np.ndarray:
    return (distances.mean() - distances) / (distances.std() + 1e-6)


def half_listed(knowledge: Knowledge) -> Batch:
    """Rows of which every other one has its target in the teacher's list."""
    batch = make_batch()
    target = batch.target.clone()
    target[::2] = knowledge.rankings[batch.row_id[::2], 3]
    return dataclasses.replace(batch, target=target)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("top_k", [5, 100])
def test_both_parts_equal_their_equations(
    knowledge: Knowledge, top_k: int, temperature: float
) -> None:
    known, out = precise(knowledge), told()
    batch = half_listed(knowledge)
    method = attached(known, top_k=top_k, temperature=temperature)
    target, others = (part.detach() for part in method.divergences(batch, out))
    listed = 0
    for b, (row, y) in enumerate(zip(batch.row_id, batch.target, strict=True)):
        z = out.logits[b, 1:].detach().numpy() / temperature
        items = known.rankings[row, : min(top_k, LISTED)].numpy()
        scores = standardised(known.distances[row, :top_k].numpy()) / temperature
        teacher = softmax(scores)
        there = items == int(y)
        listed += int(there.any())
        sure = 0.9 * teacher[there].sum() if there.any() else 0.05
        said = softmax(z)[int(y) - 1]
        wanted = kl(np.array([sure, 1 - sure]), np.array([said, 1 - said]))
        assert float(target[b]) == pytest.approx(wanted, abs=1e-6)
        order = kl(softmax(scores[~there]), softmax(z[items[~there] - 1]))
        assert float(others[b]) == pytest.approx(order, abs=1e-6)
    assert 0 < listed < len(batch.target)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_weighed_by_what_the_teacher_leaves_the_parts_are_plain_distillation(
    complete: Knowledge, temperature: float
) -> None:
    batch, out = make_batch(), told()
    method = attached(complete, temperature=temperature, rest=0.0)
    target, others = (part.detach() for part in method.divergences(batch, out))
    for b, row in enumerate(batch.row_id):
        scores = standardised(complete.distances[row].numpy()) / temperature
        teacher = np.empty(N_ITEMS)
        teacher[complete.rankings[row] - 1] = softmax(scores)
        student = softmax(out.logits[b, 1:].detach().numpy() / temperature)
        left = 1 - teacher[batch.target[b] - 1]
        found = float(target[b] + left * others[b])
        assert found == pytest.approx(kl(teacher, student), abs=1e-6)


@pytest.mark.parametrize("source", ["product", "distance"])
def test_over_all_items_the_parts_are_plain_distillation_too(
    knowledge: Knowledge, source: str
) -> None:
    batch, out = make_batch(), told()
    q = knowledge.histories.double()
    known = dataclasses.replace(
        knowledge, histories=q, embeddings=knowledge.embeddings.double(), rankings=None
    )
    method = attached(known, scores=source, temperature=2.0)
    assert method.signals(method.config) == {"histories", "embeddings"}
    target, others = (part.detach() for part in method.divergences(batch, out))
    z = known.embeddings[1:].numpy()
    for b, row in enumerate(batch.row_id.tolist()):
        apart = np.linalg.norm(z - q[row].numpy(), axis=1)
        scores = standardised(-(z @ q[row].numpy()) if source == "product" else apart)
        teacher = softmax(scores / 2)
        student = softmax(out.logits[b, 1:].detach().numpy() / 2)
        left = 1 - teacher[batch.target[b] - 1]
        assert float(target[b] + left * others[b]) == pytest.approx(kl(teacher, student), abs=1e-5)


def test_a_student_that_is_the_teacher_has_nothing_to_learn(complete: Knowledge) -> None:
    batch = make_batch()
    scores = torch.empty(len(batch.target), N_ITEMS, dtype=torch.float64)
    distances = complete.distances[batch.row_id]
    mean, std = distances.mean(dim=1, keepdim=True), distances.std(dim=1, correction=0)
    scores.scatter_(1, complete.rankings[batch.row_id] - 1, (mean - distances) / std.unsqueeze(1))
    logits = torch.nn.functional.pad(scores + 2, (1, 0)).requires_grad_()
    terms = attached(complete, rest=0.0).loss(batch, Told(logits))
    assert float(sum(terms.values()).detach()) == pytest.approx(0, abs=1e-5)
    sum(terms.values()).backward()
    assert logits.grad.abs().max() < 1e-5


def test_the_target_has_no_part_in_the_order_of_the_others(knowledge: Knowledge) -> None:
    batch, out = make_batch(), told()
    listed = dataclasses.replace(batch, target=knowledge.rankings[batch.row_id, 2])
    method = attached(precise(knowledge))
    method.divergences(listed, out)[1].sum().backward()
    gradient = out.hidden.grad.gather(1, listed.target.unsqueeze(1))
    assert not gradient.any()
    assert out.hidden.grad.any()


def test_weights_and_warm_up(knowledge: Knowledge) -> None:
    batch, out = make_batch(), told()
    known = precise(knowledge)
    target, others = attached(known, temperature=2.0).divergences(batch, out)
    method = attached(known, temperature=2.0, weight=0.5, target=3.0, others=7.0, warm_up=4)
    terms = method.loss(batch, out)
    torch.testing.assert_close(terms["dkd_target"], 4 * 0.5 * 3 * target.mean())
    torch.testing.assert_close(terms["dkd_others"], 4 * 0.5 * 7 * others.mean())
    assert method.on_epoch_start(1, 100) == {"share": 0.25}
    torch.testing.assert_close(method.loss(batch, out)["dkd_target"], terms["dkd_target"] / 4)
    assert method.on_epoch_start(9, 100) == {"share": 1.0}


def test_uncovered_rows_weigh_nothing(knowledge: Knowledge) -> None:
    batch, out = make_batch(), told()
    covered = knowledge.covered.clone()
    covered[batch.row_id[8:]] = False
    partial = dataclasses.replace(precise(knowledge), covered=covered)
    half = dataclasses.replace(batch, row_id=batch.row_id[:8], target=batch.target[:8])
    expected = attached(precise(knowledge)).loss(half, Told(out.hidden[:8].detach()))
    found = attached(partial).loss(batch, out)
    torch.testing.assert_close(found, expected)


def test_a_list_that_holds_the_target_alone_orders_nothing(knowledge: Knowledge) -> None:
    batch, out = make_batch(), told()
    alone = dataclasses.replace(batch, target=knowledge.rankings[batch.row_id, 0])
    method = attached(precise(knowledge), top_k=1)
    target, others = method.divergences(alone, out)
    assert not others.any()
    target.sum().backward()
    assert torch.isfinite(out.hidden.grad).all()
