"""Objectives and robust losses against float64 brute force, and gradients by finite differences."""

from __future__ import annotations

import dataclasses
import gc
import math
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import logsumexp

from bench.distillation import Batch
from bench.distillation.losses import covered_mean, popularity_exponents
from bench.training import output as outputs
from bench.training.config import TrainingConfig
from bench.training.objectives import OBJECTIVES
from bench.training.output import BlockBuffers, StepOutput

B, N, D, L = 6, 23, 5, 4


def problem(scale: float = 1.0, dtype: torch.dtype = torch.float32) -> tuple[Batch, StepOutput]:
    generator = torch.Generator().manual_seed(3)
    hidden = (scale * torch.randn(B, D, generator=generator, dtype=dtype)).requires_grad_()
    table = torch.randn(N + 1, D, generator=generator, dtype=dtype)
    table[0] = 0
    batch = Batch(
        row_id=torch.arange(B),
        history=torch.randint(1, N + 1, (B, L), generator=generator),
        length=torch.full((B,), L),
        target=torch.randint(1, N + 1, (B,), generator=generator),
        user=torch.arange(B),
        negative=torch.randint(1, N + 1, (B,), generator=generator),
        generator=generator,
    )
    return batch, StepOutput(hidden, table.requires_grad_(), BlockBuffers())


def dense(output: StepOutput) -> np.ndarray:
    """Float64 scores [B, N + 1] as NumPy computes them; column 0 must not be used."""
    return (output.hidden.detach().double() @ output.table.detach().double().T).numpy()


COUNTS = torch.cat([torch.zeros(1), torch.arange(N, dtype=torch.float32)])


def softplus(x: float) -> float:
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def expected_loss(name: str, batch: Batch, scores: np.ndarray) -> float:
    total = 0.0
    for row in range(B):
        s, y, n = scores[row], int(batch.target[row]), int(batch.negative[row])
        bce = 0.5 * (softplus(-s[y]) + softplus(s[n]))
        if name == "ce":
            total += logsumexp(s[1:]) - s[y]
        elif name == "bpr":
            total += softplus(s[n] - s[y])
        elif name == "bce":
            total += bce
        else:
            total += bce + 0.5 * brute_robust(s, y)
    return total / B


def brute_robust(s: np.ndarray, y: int, beta: float = 1.0) -> float:
    n = COUNTS.double().numpy() + 1
    ps = (n / n[1:].sum()) ** 0.05
    terms = [ps[i] * (s[i] - (1 if i == y else 0)) ** 2 / beta for i in range(1, N + 1)]
    return float(logsumexp(terms))


@pytest.mark.parametrize("name", ["ce", "bpr", "bce", "dros"])
@pytest.mark.parametrize("scale", [0.1, 1.0, 20.0])
def test_objective_equals_brute_force(name: str, scale: float) -> None:
    batch, output = problem(scale)
    objective = OBJECTIVES[name].make(TrainingConfig(objective=name), COUNTS, None)
    expected = expected_loss(name, batch, dense(output))
    assert float(objective(batch, output).detach()) == pytest.approx(expected, rel=2e-5)


@pytest.mark.parametrize("name", ["ce", "bpr", "bce", "dros"])
def test_gradients_equal_finite_differences(name: str) -> None:
    batch, output = problem(dtype=torch.float64)
    objective = OBJECTIVES[name].make(TrainingConfig(objective=name), COUNTS.double(), None)

    def loss(hidden: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        return objective(batch, StepOutput(hidden, table, BlockBuffers()))

    assert torch.autograd.gradcheck(loss, (output.hidden, output.table))


def sharing(shared: torch.Tensor, scale: float = 1.0, **training: object) -> tuple[float, float]:
    """Loss of a batch that shares negatives, and what ce is for it."""
    batch, output = problem(scale)
    config = TrainingConfig(negatives=len(shared), **training)
    term = OBJECTIVES[config.objective].make(config, COUNTS, None)
    loss = term(dataclasses.replace(batch, shared=shared), output)
    return float(loss.detach()), expected_loss("ce", batch, dense(output))


@pytest.mark.parametrize("scale", [0.1, 3.0, 20.0])
def test_sampled_ce_is_ce_where_every_item_is_drawn_once(scale: float) -> None:
    loss, ce = sharing(torch.randperm(N) + 1, scale, objective="sampled-ce")
    assert loss == pytest.approx(ce, rel=1e-5)


@pytest.mark.parametrize("proposal", ["uniform", "in-batch"])
def test_the_sum_of_sampled_ce_is_that_of_ce_on_average(proposal: str) -> None:
    """In-batch: items of 0, 1, ..., N - 1 targets; the first is none and never drawn."""
    batch, output = problem()
    config = TrainingConfig(objective="sampled-ce", proposal=proposal)
    term = OBJECTIVES["sampled-ce"].make(config, COUNTS, None)
    weights = COUNTS[1:] if proposal == "in-batch" else torch.ones(N)
    sums, scores = torch.zeros(B, dtype=torch.float64), torch.from_numpy(dense(output))
    own = scores.gather(1, batch.target.unsqueeze(1))[:, 0]
    times = 400
    for seed in range(times):
        shared = torch.multinomial(weights, 64, True, generator=seeded(seed)) + 1
        for row in range(B):
            one = Batch.of(batch, torch.tensor([row]), batch.generator)
            one = dataclasses.replace(one, row_id=torch.tensor([0]), shared=shared)
            of_row = StepOutput(output.hidden[row : row + 1], output.table, BlockBuffers())
            sums[row] += term(one, of_row).detach().double().add(own[row]).exp() / times
    drawn = torch.arange(1, N + 1) if proposal == "uniform" else torch.arange(2, N + 1)
    for row in range(B):
        y = int(batch.target[row])
        everything = scores[row, [i for i in drawn.tolist() if i != y]].exp().sum() + own[row].exp()
        assert float(sums[row]) == pytest.approx(float(everything), rel=0.05)


@pytest.mark.parametrize("t", [0.0, 0.4, 1.0])
def test_gbce_equals_brute_force(t: float) -> None:
    batch, output = problem(3.0)
    shared = torch.tensor([4, 9, 9, int(batch.target[2])])
    config = TrainingConfig(objective="gbce", negatives=4, calibration=t)
    loss = OBJECTIVES["gbce"].make(config, COUNTS, None)(
        dataclasses.replace(batch, shared=shared), output
    )
    alpha = 4 / (N - 1)
    beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha)
    total = 0.0
    for s, y in zip(dense(output), batch.target.tolist(), strict=True):
        total += beta * softplus(-s[y])
        total += sum(softplus(s[n]) for n in shared.tolist() if n != y)
    assert float(loss.detach()) == pytest.approx(total / B / 5, rel=1e-5)
    assert beta == pytest.approx({0.0: 1.0, 1.0: alpha}.get(t, beta))


@pytest.mark.parametrize("name", ["sampled-ce", "gbce"])
def test_gradients_through_shared_negatives_equal_finite_differences(name: str) -> None:
    batch, output = problem(dtype=torch.float64)
    batch = dataclasses.replace(batch, shared=torch.tensor([1, 5, 5, int(batch.target[0])]))
    config = TrainingConfig(objective=name, negatives=4)
    objective = OBJECTIVES[name].make(config, COUNTS.double(), None)

    def loss(hidden: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        return objective(batch, StepOutput(hidden, table, BlockBuffers()))

    assert torch.autograd.gradcheck(loss, (output.hidden, output.table))


def test_log_probs_equal_log_softmax_without_padding() -> None:
    _, output = problem(3.0)
    ids = torch.randint(1, N + 1, (B, 7))
    expected = torch.log_softmax(output.logits[:, 1:], dim=1).gather(1, ids - 1)
    torch.testing.assert_close(output.log_probs(ids), expected, atol=1e-5, rtol=1e-5)


def test_fused_normaliser_serves_several_terms_at_once() -> None:
    batch, output = problem()
    ids = torch.randint(1, N + 1, (B, 3))
    (output.log_probs(ids).sum() + 2 * output.log_probs(batch.target.unsqueeze(1)).sum()).backward()
    fused = output.hidden.grad.clone()
    output.hidden.grad = None
    log = torch.log_softmax(output.logits[:, 1:], dim=1)
    twice = log.gather(1, batch.target.unsqueeze(1) - 1).sum()
    (log.gather(1, ids - 1).sum() + 2 * twice).backward()
    torch.testing.assert_close(fused, output.hidden.grad, atol=1e-5, rtol=1e-4)


def test_top_k_is_the_students_order_without_padding() -> None:
    _, output = problem()
    order = np.argsort(-dense(output)[:, 1:], axis=1) + 1
    assert output.top_k(5).tolist() == order[:, :5].tolist()
    assert output.top_k(10 * N).shape == (B, N)
    assert (output.top_k(10 * N) > 0).all()


def test_buffers_are_reused_and_do_not_leak_between_steps() -> None:
    buffers = BlockBuffers()
    results = []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        output = StepOutput(torch.randn(B, D), torch.randn(N + 1, D), buffers)
        results.append((output.log_probs(torch.ones(B, 1, dtype=torch.long)), output.top_k(4)))
    assert torch.equal(results[0][0], results[2][0])
    assert torch.equal(results[0][1], results[2][1])
    assert not torch.equal(results[0][0], results[1][0])


@pytest.mark.parametrize("size", [1.0, 12.0, 50.0])
@pytest.mark.parametrize("k", [1, 3, N])
def test_robust_loss_is_finite_and_exact_where_the_literal_form_overflows(
    size: float, k: int
) -> None:
    output = of_logits(size * (2 * torch.rand(B, N + 1, generator=seeded(5)) - 1))
    targets = torch.stack([torch.randperm(N, generator=seeded(row))[:k] + 1 for row in range(B)])
    values = output.robust(targets, popularity_exponents(COUNTS), 2.0)
    expected = [
        [brute_robust(scores, y, 2.0) for y in row]
        for scores, row in zip(dense(output), targets.tolist(), strict=True)
    ]
    np.testing.assert_allclose(values.detach().numpy(), expected, rtol=1e-5)
    values.sum().backward()
    assert torch.isfinite(output.hidden.grad).all()


def test_robust_terms_have_the_temperature_of_the_trial_unless_another_is_asked_for() -> None:
    torch.manual_seed(5)
    hidden, table, own = torch.randn(B, D), torch.randn(N + 1, D), torch.full((B, 1), 3)
    exponents = popularity_exponents(COUNTS)
    at = {t: StepOutput(hidden, table, BlockBuffers(), dros_temperature=t) for t in (1.0, 3.0)}
    torch.testing.assert_close(at[3.0].robust(own, exponents), at[1.0].robust(own, exponents, 3.0))
    assert not torch.allclose(at[3.0].robust(own, exponents), at[1.0].robust(own, exponents))


def test_a_list_and_the_rows_own_target_share_a_sweep_and_change_nothing() -> None:
    batch, one = problem(2.0, dtype=torch.float64)
    exponents = popularity_exponents(COUNTS).double()
    items = torch.stack([torch.randperm(N, generator=seeded(row))[:4] + 1 for row in range(B)])
    items[0, 2] = batch.target[0] = 7  # listed, and the row's own
    items[0, [0, 1, 3]] = torch.tensor([1, 2, 3])
    own = batch.target.unsqueeze(1)
    found, masses = [], []
    for target in (batch.target, None):
        hidden, table = (x.detach().clone().requires_grad_() for x in (one.hidden, one.table))
        made = StepOutput(hidden, table, BlockBuffers(), target)
        terms = made.robust(items, exponents), made.robust(own, exponents.clone())
        (terms[0].square().sum() + terms[1].square().sum()).backward()
        found.append([*(term.detach() for term in terms), hidden.grad, table.grad])
        masses.append(made._masses)
    torch.testing.assert_close(*found)
    assert masses == [1, 2]
    again = made.robust(own, exponents, 3.0).detach().numpy()[:, 0]
    expected = [brute_robust(s, int(y), 3.0) for s, y in zip(dense(made), own, strict=True)]
    np.testing.assert_allclose(again, expected, rtol=1e-6)


def test_robust_loss_stays_precise_when_the_target_dominates() -> None:
    logits = torch.zeros(1, N + 1)
    logits[0, 4] = -30.0
    value = of_logits(logits).robust(torch.tensor([[4]]), popularity_exponents(COUNTS))
    expected = brute_robust(logits[0].double().numpy(), 4)
    assert float(value.detach()) == pytest.approx(expected, rel=1e-6)


def of_logits(logits: torch.Tensor) -> StepOutput:
    """A student whose hidden states [B, N + 1] are its logits."""
    return StepOutput(logits.clone().requires_grad_(), torch.eye(N + 1), BlockBuffers())


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_covered_mean_ignores_rows_without_teacher() -> None:
    values = torch.tensor([1.0, 5.0, 9.0])
    assert float(covered_mean(values, torch.tensor([True, False, True]))) == 5.0
    assert float(covered_mean(values, torch.zeros(3, dtype=torch.bool))) == 0.0


@pytest.mark.parametrize("scale", [0.1, 1.0, 50.0])
def test_the_rest_of_a_list_equals_brute_force(scale: float) -> None:
    batch, output = problem(scale)
    scores = dense(output)
    ids = torch.cat([batch.history, torch.zeros(B, 2, dtype=torch.int64), batch.history], dim=1)
    for left_out in (ids, ids[:, :0]):
        found = output.log_rest(left_out).detach().numpy()
        for row in range(B):
            kept = sorted(set(range(1, N + 1)) - set(left_out[row].tolist()))
            assert found[row] == pytest.approx(logsumexp(scores[row][kept]), rel=2e-5, abs=1e-4)


def test_rests_and_probabilities_of_one_step_do_not_share_memory() -> None:
    batch, output = problem(dtype=torch.float64)

    def loss(hidden: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        made = StepOutput(hidden, table, BlockBuffers())
        rests = made.log_rest(batch.history), made.log_rest(batch.target.unsqueeze(1))
        own = made.log_probs(batch.target.unsqueeze(1)).squeeze(1)
        return (rests[0] * own + rests[1].square()).sum()

    assert torch.autograd.gradcheck(loss, (output.hidden, output.table))


def test_a_block_swept_in_parts_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for kept, part in ((B, 1), (0, 4), (0, 1)):
        monkeypatch.setattr(outputs, "KEPT_BYTES", kept * 8 * (N + 1))
        monkeypatch.setattr(outputs, "PART_BYTES", part * 8 * (N + 1))
        batch, made = problem(2.0, dtype=torch.float64)
        target, history = batch.target.unsqueeze(1), batch.history.sort(dim=1).values
        different = torch.where(F.pad(history.diff(dim=1) == 0, (1, 0)), 0, history)
        terms = (
            made.log_probs(history).sum(),
            3 * made.log_rest(different).square().sum(),
            made.robust(target, popularity_exponents(COUNTS).double()).square().sum(),
        )
        sum(terms).backward()
        found.append([*(term.detach() for term in terms), made.hidden.grad, made.table.grad])
    for parts in found[1:]:
        torch.testing.assert_close(parts, found[0])


def test_a_step_is_forgotten_at_once() -> None:
    batch, output = problem()
    step = weakref.ref(output)
    gc.disable()
    try:
        config = TrainingConfig(objective="dros")
        loss = OBJECTIVES["dros"].make(config, torch.ones(N + 1), None)(batch, output)
        loss.backward()
        del output, loss
        assert step() is None
    finally:
        gc.enable()


def test_a_block_of_many_rows_needs_little_beside_itself() -> None:
    block = torch.empty(2048, 17_409)  # never written: takes no memory
    buffers = BlockBuffers()
    spare = buffers.spare("one", block)
    assert 1 <= spare.numel() <= 0.05 * block.numel()
    assert buffers.spare("another", block).data_ptr() == spare.data_ptr()
