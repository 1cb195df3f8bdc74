"""`training.seen=mask`: distributions without a row's history, against loops in float64."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from bench.distillation import Batch
from bench.students.adapter import Adapter
from bench.students.config import StudentConfig
from bench.training import output as outputs
from bench.training.config import TrainingConfig
from bench.training.objectives import OBJECTIVES
from bench.training.output import BlockBuffers, StepOutput

B, N, D, L = 6, 23, 5, 4

COUNTS = torch.cat([torch.zeros(1), torch.arange(N, dtype=torch.float32)])


def problem(dtype: torch.dtype = torch.float32) -> tuple[Batch, torch.Tensor, torch.Tensor]:
    """A batch with short histories, repeated items and targets that were seen; hidden; table."""
    generator = torch.Generator().manual_seed(3)
    history = torch.randint(1, N + 1, (B, L), generator=generator)
    history[1, 2:], history[3, 1] = 0, history[3, 0]
    target = torch.randint(1, N + 1, (B,), generator=generator)
    target[0], target[3] = history[0, 2], history[3, 0]
    batch = Batch(
        row_id=torch.arange(B),
        history=history,
        length=(history > 0).sum(dim=1),
        target=target,
        user=torch.arange(B),
        negative=torch.randint(1, N + 1, (B,), generator=generator),
        generator=generator,
    )
    hidden = torch.randn(B, D, generator=generator, dtype=dtype).requires_grad_()
    return batch, hidden, torch.randn(N + 1, D, generator=generator, dtype=dtype).requires_grad_()


def output_of(batch: Batch, hidden: torch.Tensor, table: torch.Tensor) -> StepOutput:
    return StepOutput(hidden, table, BlockBuffers(), batch.target, left_out=batch.history)


def left(batch: Batch, row: int, asked: int) -> list[int]:
    """What the distribution of a row is over, when it is asked about an item."""
    seen = {*batch.history[row].tolist()} - {0, int(batch.target[row]), asked}
    return [item for item in range(1, N + 1) if item not in seen]


def dense(hidden: torch.Tensor, table: torch.Tensor) -> np.ndarray:
    return (hidden.detach().double() @ table.detach().double().T).numpy()


def brute_log_prob(batch: Batch, scores: np.ndarray, row: int, item: int) -> float:
    return float(scores[row, item] - logsumexp(scores[row, left(batch, row, item)]))


def brute_robust(batch: Batch, scores: np.ndarray, row: int, item: int) -> float:
    n = COUNTS.double().numpy() + 1
    ps = (n / n[1:].sum()) ** 0.05
    return float(
        logsumexp([ps[i] * (scores[row, i] - (i == item)) ** 2 for i in left(batch, row, item)])
    )


def softplus(x: float) -> float:
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def expected_loss(name: str, batch: Batch, s: np.ndarray) -> float:
    total = 0.0
    for row in range(B):
        y, n = int(batch.target[row]), int(batch.negative[row])
        bce = 0.5 * (softplus(-s[row, y]) + softplus(s[row, n]))
        total += {
            "ce": -brute_log_prob(batch, s, row, y),
            "bpr": softplus(s[row, n] - s[row, y]),
            "bce": bce,
            "dros": bce + 0.5 * brute_robust(batch, s, row, y),
        }[name]
    return total / B


@pytest.fixture(params=[None, 200], ids=["whole", "in parts"])
def sweep(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that fit in the cache, and such as are swept in parts."""
    if request.param:
        monkeypatch.setattr(outputs, "KEPT_BYTES", 100)
        monkeypatch.setattr(outputs, "PART_BYTES", request.param)


@pytest.mark.usefixtures("sweep")
@pytest.mark.parametrize("name", ["ce", "bpr", "bce", "dros"])
def test_objectives_equal_loops(name: str) -> None:
    batch, hidden, table = problem()
    objective = OBJECTIVES[name].make(TrainingConfig(objective=name, seen="mask"), COUNTS, None)
    found = float(objective(batch, output_of(batch, hidden, table)).detach())
    assert found == pytest.approx(expected_loss(name, batch, dense(hidden, table)), rel=2e-5)


@pytest.mark.usefixtures("sweep")
@pytest.mark.parametrize("name", ["ce", "dros"])
def test_gradients_equal_finite_differences(name: str) -> None:
    batch, hidden, table = problem(torch.float64)
    objective = OBJECTIVES[name].make(TrainingConfig(objective=name), COUNTS.double(), None)

    def loss(hidden: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        return objective(batch, output_of(batch, hidden, table))

    assert torch.autograd.gradcheck(loss, (hidden, table))


@pytest.mark.usefixtures("sweep")
def test_what_methods_ask_for_equals_loops_and_so_do_gradients() -> None:
    """An item of the history that a teacher lists stays in its own distribution."""
    batch, hidden, table = problem()
    ids = torch.randint(1, N + 1, (B, 7))
    ids[:, 0] = batch.history[:, 0]
    scores, made = dense(hidden, table), output_of(batch, hidden, table)
    log_probs, rest = made.log_probs(ids).detach(), made.log_rest(ids).detach()
    exponents = ((COUNTS + 1) / (COUNTS[1:] + 1).sum()) ** 0.05
    different = torch.stack([torch.randperm(N)[:7] + 1 for _ in range(B)])
    different[:, 0] = batch.target
    robust = made.robust(different, exponents).detach()
    for row in range(B):
        listed = ids[row].tolist()
        for place, item in enumerate(listed):
            wanted = brute_log_prob(batch, scores, row, item)
            assert log_probs[row, place] == pytest.approx(wanted, rel=1e-4, abs=1e-5)
        others = [item for item in left(batch, row, 0) if item not in listed]
        assert rest[row] == pytest.approx(logsumexp(scores[row, others]), rel=1e-4, abs=1e-5)
        for place, item in enumerate(different[row].tolist()):
            wanted = brute_robust(batch, scores, row, item)
            assert robust[row, place] == pytest.approx(wanted, rel=1e-4, abs=1e-5)


def test_gradients_of_what_methods_ask_for() -> None:
    batch, hidden, table = problem(torch.float64)
    ids = torch.stack([torch.randperm(N)[:5] + 1 for _ in range(B)])
    ids[:, 0] = torch.where(batch.history[:, 0] == ids[:, 1], ids[:, 0], batch.history[:, 0])
    exponents = ((COUNTS.double() + 1) / (COUNTS[1:] + 1).sum()) ** 0.05

    def terms(hidden: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        made = output_of(batch, hidden, table)
        return (
            made.log_probs(ids).sum() + made.log_rest(ids).sum() + made.robust(ids, exponents).sum()
        )

    assert torch.autograd.gradcheck(terms, (hidden, table))


def test_the_best_items_leave_the_history_to_the_end() -> None:
    batch, hidden, table = problem()
    scores, best = dense(hidden, table), output_of(batch, hidden, table).top_k(10 * N)
    assert best.shape == (B, N) and (best > 0).all()
    for row in range(B):
        kept = left(batch, row, 0)
        assert best[row, : len(kept)].tolist() == sorted(kept, key=lambda i: -scores[row, i])
        assert {*best[row].tolist()} == {*range(1, N + 1)}


def test_raw_scores_and_logits_are_of_all_items() -> None:
    batch, hidden, table = problem()
    masked, plain = output_of(batch, hidden, table), StepOutput(hidden, table, BlockBuffers())
    assert torch.equal(masked.logits, plain.logits)
    assert torch.equal(masked.scores(batch.history), plain.scores(batch.history))


def test_an_item_hidden_from_bert4rec_is_told_from_what_was_not_in_its_sequence() -> None:
    """Against loops over the same draws: the sequence but the hidden item is left out."""
    torch.manual_seed(0)
    student = Adapter.of(
        StudentConfig(model="BERT4Rec"),
        n_items=N,
        history=L,
        known_users=torch.ones(B, dtype=torch.bool),
        objective="cloze",
    ).eval()
    batch, *_ = problem()
    config = TrainingConfig(objective="cloze", seen="mask")
    hidden = student.encode(batch.history, batch.length, batch.user)
    torch.manual_seed(1)
    term = OBJECTIVES["cloze"].make(config, COUNTS, student)
    output = StepOutput(hidden, student, BlockBuffers(), batch.target, left_out=batch.history)
    found = float(term(batch, output).detach())
    torch.manual_seed(1)
    with torch.no_grad():
        states, ids, hides = student.cloze(batch.history, batch.length, batch.target)
        scores = (student.queries(states) @ student.keys().T).double().numpy()
        own = (student.queries(hidden) @ student.keys().T).double().numpy()
    values = []
    for place in torch.nonzero(hides).flatten().tolist():
        row, item = place // (len(ids) // B), int(ids[place])
        seen = {*batch.history[row].tolist(), int(batch.target[row])} - {0, item}
        kept = [i for i in range(1, N + 1) if i not in seen]
        values.append(logsumexp(scores[place, kept]) - scores[place, item])
    last = -np.mean([brute_log_prob(batch, own, row, int(batch.target[row])) for row in range(B)])
    share = student.last_share
    assert found == pytest.approx(share * last + (1 - share) * np.mean(values), rel=1e-4)


def test_a_history_of_padding_leaves_nothing_out() -> None:
    batch, hidden, table = problem()
    empty = replace(batch, history=torch.zeros_like(batch.history))
    ids = torch.randint(1, N + 1, (B, 3))
    made = output_of(empty, hidden, table)
    torch.testing.assert_close(
        made.log_probs(ids), StepOutput(hidden, table, BlockBuffers()).log_probs(ids)
    )


def test_the_settings_are_part_of_a_key_only_where_they_are_chosen() -> None:
    plain = TrainingConfig().model_dump()
    assert "seen" not in plain and "min_delta" not in plain
    changed = TrainingConfig(seen="mask", min_delta=0.001).model_dump()
    assert changed == plain | {"seen": "mask", "min_delta": 0.001}
