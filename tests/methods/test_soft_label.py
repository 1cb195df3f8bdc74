"""Soft labels over the teacher's list against a loop written from the equation."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.distillation import Batch, Knowledge
from bench.distillation.lists import standardised_scores
from bench.training.output import BlockBuffers, StepOutput
from methods.soft_label import SoftLabel

from .conftest import LISTED, N_ITEMS, make_batch, make_student


def attached(knowledge: Knowledge, **settings: object) -> SoftLabel:
    method = SoftLabel(SoftLabel.Config(**settings))
    method.attach(make_student(), knowledge)
    return method


def output(size: int = 16) -> StepOutput:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(size, 8, generator=generator).requires_grad_()
    table = torch.randn(N_ITEMS + 1, 8, generator=generator)
    table[0] = 0
    return StepOutput(hidden, table.requires_grad_(), BlockBuffers())


def saying(scores: torch.Tensor, lists: torch.Tensor) -> StepOutput:
    """A student that gives the listed items these logits."""
    hidden = torch.zeros(len(lists), N_ITEMS).scatter(1, lists - 1, scores)
    table = torch.nn.functional.pad(torch.eye(N_ITEMS), (0, 0, 1, 0))
    return StepOutput(hidden.requires_grad_(), table, BlockBuffers())


def softmax(values: list[float]) -> list[float]:
    return [math.exp(v) / sum(math.exp(w) for w in values) for v in values]


def standardised(distances: list[float]) -> list[float]:
    mean = sum(distances) / len(distances)
    std = math.sqrt(sum((d - mean) ** 2 for d in distances) / len(distances))
    return [(mean - d) / (std + 1e-6) for d in distances]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 5.0])
@pytest.mark.parametrize("top_k", [4, 20])
def test_loss_and_gradient_equal_a_loop(
    knowledge: Knowledge, top_k: int, temperature: float
) -> None:
    method = attached(knowledge, weight=0.7, top_k=top_k, temperature=temperature)
    batch, out = make_batch(), output()
    table = out.table.detach().double().numpy()
    scores = out.hidden.detach().double().numpy() @ table.T
    k, total, gradient = min(top_k, LISTED), 0.0, np.zeros((16, 8))
    for b, r in enumerate(batch.row_id.tolist()):
        items = knowledge.rankings[r, :k].tolist()
        z = standardised(knowledge.distances[r, :k].tolist())
        q = softmax([value / temperature for value in z])
        p = softmax([float(scores[b, i]) / temperature for i in items])
        for wanted, said, item in zip(q, p, items, strict=True):
            total += temperature**2 * wanted * math.log(wanted / said)
            gradient[b] += temperature * (said - wanted) * table[item]
    loss = method.loss(batch, out)["soft_label"]
    assert float(loss.detach()) == pytest.approx(0.7 * total / 16, rel=1e-4)
    loss.backward()
    np.testing.assert_allclose(out.hidden.grad, 0.7 * gradient / 16, atol=1e-6)
    assert method.derived == {"top_k": k}


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_a_student_that_says_what_the_teacher_says_has_nothing_to_learn(
    knowledge: Knowledge, temperature: float
) -> None:
    method, batch = attached(knowledge, temperature=temperature), make_batch()
    lists = knowledge.rankings[batch.row_id]
    scores = standardised_scores(knowledge.distances[batch.row_id])
    out = saying(scores + 3, lists)  # a softmax does not see a shift
    loss = method.loss(batch, out)["soft_label"]
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(out.hidden.grad, torch.zeros_like(out.hidden), atol=1e-7, rtol=0)
    reverse = method.loss(batch, saying(-scores, lists))["soft_label"]
    assert float(reverse.detach()) > 0.3


@given(
    seed=st.integers(0, 10_000),
    scale=st.floats(0.1, 100),
    shift=st.floats(0, 100),
    rows=st.integers(1, 5),
    k=st.integers(2, 12),
)
def test_teacher_scores_have_no_unit(
    seed: int, scale: float, shift: float, rows: int, k: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    distances = (torch.rand(rows, k, generator=generator, dtype=torch.float64) * 9 + 1).cumsum(1)
    scores = standardised_scores(distances)
    torch.testing.assert_close(scores.mean(dim=1), torch.zeros_like(scores[:, 0]))
    ones = torch.ones_like(scores[:, 0])
    torch.testing.assert_close(scores.std(dim=1, correction=0), ones, atol=1e-5, rtol=0)
    assert (scores.diff(dim=1) < 0).all()  # the surest item has the best score
    other = standardised_scores(distances * scale + shift)
    torch.testing.assert_close(other, scores, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("standardise", ["teacher", "none", "both"])
def test_scores_are_standardised_as_asked(knowledge: Knowledge, standardise: str) -> None:
    method, batch, out = attached(knowledge, standardise=standardise), make_batch(), output()
    divergence = method.divergence(batch, out).detach()
    for b, r in enumerate(batch.row_id.tolist()):
        distances = knowledge.distances[r].tolist()
        z = [-d for d in distances] if standardise == "none" else standardised(distances)
        items = knowledge.rankings[r]
        s = (out.hidden[b].detach().double() @ out.table[items].detach().double().T).tolist()
        if standardise == "both":
            s = standardised([-v for v in s])
        q, p = softmax(z), softmax(s)
        expected = sum(w * math.log(w / v) for w, v in zip(q, p, strict=True))
        assert float(divergence[b]) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("settings", [{"standardise": "both"}, {"distance": "correlation"}])
def test_the_students_scale_is_free_where_both_sides_are_standardised(
    knowledge: Knowledge, settings: dict[str, str]
) -> None:
    method, batch = attached(knowledge, **settings), make_batch()
    lists = knowledge.rankings[batch.row_id]
    scores = standardised_scores(knowledge.distances[batch.row_id])
    for factor in (0.5, 20.0):
        out = saying(factor * scores - 3, lists)
        loss = method.loss(batch, out)["soft_label"]
        loss.backward()
        assert float(loss.detach()) == pytest.approx(0, abs=1e-5)
        torch.testing.assert_close(out.hidden.grad, torch.zeros_like(out.hidden), atol=1e-5, rtol=0)
    equal = saying(torch.ones_like(scores), lists)
    method.loss(batch, equal)["soft_label"].backward()
    assert torch.isfinite(equal.hidden.grad).all()


def test_correlation_equals_numpy(knowledge: Knowledge) -> None:
    method, batch, out = attached(knowledge, distance="correlation"), make_batch(), output()
    found = method.divergence(batch, out).detach()
    scores = (out.hidden @ out.table.T).detach().numpy()
    for b, r in enumerate(batch.row_id.tolist()):
        said = scores[b, knowledge.rankings[r]]
        rho = np.corrcoef(said, -knowledge.distances[r].numpy())[0, 1]
        assert float(found[b]) == pytest.approx(1 - rho, rel=1e-4)


def test_a_confident_label_is_half_the_target(knowledge: Knowledge) -> None:
    batch, out = make_batch(), output()
    target = batch.target.clone()
    target[::2] = knowledge.rankings[batch.row_id[::2], 3]  # half of the targets are listed
    batch = dataclasses.replace(batch, target=target)
    method = attached(knowledge, confident=True, temperature=3.0)
    found = method.divergence(batch, out).detach()
    for b, r in enumerate(batch.row_id.tolist()):
        z = standardised(knowledge.distances[r].tolist())
        label = dict(zip(knowledge.rankings[r].tolist(), softmax([v / 3 for v in z]), strict=True))
        label = {item: q / 2 for item, q in label.items()}
        y = int(batch.target[b])
        label[y] = label.get(y, 0.0) + 0.5
        s = (out.hidden[b].detach().double() @ out.table.detach().double().T).tolist()
        p = dict(zip(label, softmax([s[item] for item in label]), strict=True))
        expected = sum(t * math.log(t / p[item]) for item, t in label.items())
        assert float(found[b]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("settings", [{"distance": "correlation"}, {"standardise": "both"}])
def test_a_target_is_mixed_into_probabilities_alone(settings: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="confident needs"):
        SoftLabel.Config(confident=True, **settings)


def whole(knowledge: Knowledge, batch: Batch) -> np.ndarray:
    """The teacher's standardised scores of all items, [B, N]."""
    q = knowledge.histories[batch.row_id].double().numpy()
    scores = q @ knowledge.embeddings[1:].double().numpy().T
    return (scores - scores.mean(axis=1, keepdims=True)) / scores.std(axis=1, keepdims=True)


def shares(scores: np.ndarray) -> np.ndarray:
    return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


def test_labels_of_all_items_are_plain_distillation(knowledge: Knowledge) -> None:
    batch, out = make_batch(), output()
    found = attached(knowledge, scores="product", temperature=2.0).divergence(batch, out).detach()
    teacher = shares(whole(knowledge, batch) / 2)
    student = shares((out.hidden @ out.table[1:].T).detach().double().numpy() / 2)
    wanted = 4 * (teacher * np.log(teacher / student)).sum(axis=1)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)


def test_dist_over_all_items_compares_rows_and_columns(knowledge: Knowledge) -> None:
    batch, out = make_batch(), output()
    covered = knowledge.covered.clone()
    covered[batch.row_id[::3]] = False
    known = dataclasses.replace(knowledge, covered=covered)
    method = attached(known, scores="product", distance="correlation", temperature=2.0)
    found = method.divergence(batch, out).detach()
    teacher = shares(whole(knowledge, batch) / 2)
    student = shares((out.hidden @ out.table[1:].T).detach().double().numpy() / 2)
    there = np.arange(16) % 3 > 0
    for b in range(16):
        column = int(batch.target[b]) - 1
        inside = np.corrcoef(teacher[b], student[b])[0, 1]
        across = np.corrcoef(teacher[there, column], student[there, column])[0, 1]
        assert float(found[b]) == pytest.approx(4 * (2 - inside - across), rel=1e-3, abs=1e-4)


def test_a_confident_label_over_all_items(knowledge: Knowledge) -> None:
    batch, out = make_batch(), output()
    found = attached(knowledge, scores="product", confident=True).divergence(batch, out).detach()
    label = shares(whole(knowledge, batch)) / 2
    label[np.arange(16), batch.target - 1] += 0.5
    student = shares((out.hidden @ out.table[1:].T).detach().double().numpy())
    wanted = (label * np.log(label / student)).sum(axis=1)
    np.testing.assert_allclose(found, wanted, rtol=1e-3)


def test_scores_of_vectors_are_standardised() -> None:
    with pytest.raises(ValueError, match="scores=product are standardised"):
        SoftLabel.Config(scores="product", standardise="none")


def test_the_weight_falls_to_zero_and_stopping_waits_for_it(knowledge: Knowledge) -> None:
    method, batch, out = attached(knowledge, anneal=4), make_batch(), output()
    whole = method.loss(batch, out)["soft_label"]
    shares, settled = [], []
    for epoch in range(1, 7):
        shares.append(method.on_epoch_start(epoch, 100)["share"])
        settled.append(method.curriculum_finished)
        torch.testing.assert_close(method.loss(batch, out)["soft_label"], shares[-1] * whole)
    assert shares == [1, 0.75, 0.5, 0.25, 0, 0]
    assert settled == [False] * 4 + [True] * 2
    assert attached(knowledge).on_epoch_start(3, 100) == {}


def test_equal_distances_want_equal_scores(knowledge: Knowledge) -> None:
    flat = dataclasses.replace(knowledge, distances=torch.full_like(knowledge.distances, 31.0))
    batch = make_batch()
    lists = knowledge.rankings[batch.row_id]
    same = saying(torch.full(lists.shape, 2.0), lists)
    assert float(attached(flat).loss(batch, same)["soft_label"].detach()) == pytest.approx(0)
    assert float(attached(flat).loss(batch, output())["soft_label"].detach()) > 0.1


def test_a_list_of_one_item_says_nothing(knowledge: Knowledge) -> None:
    one = dataclasses.replace(
        knowledge, rankings=knowledge.rankings[:, :1], distances=knowledge.distances[:, :1]
    )
    assert float(attached(one).loss(make_batch(), output())["soft_label"].detach()) == 0


def test_uncovered_rows_weigh_nothing(knowledge: Knowledge) -> None:
    batch, out = make_batch(), output()
    covered = knowledge.covered.clone()
    covered[batch.row_id[8:]] = False
    distances = knowledge.distances.masked_fill(~covered.unsqueeze(1), 0.0)
    partial = dataclasses.replace(knowledge, covered=covered, distances=distances)
    half = dataclasses.replace(batch, row_id=batch.row_id[:8])
    head = StepOutput(out.hidden[:8], out.table, BlockBuffers())
    expected = attached(knowledge).loss(half, head)["soft_label"]
    torch.testing.assert_close(attached(partial).loss(batch, out)["soft_label"], expected)
