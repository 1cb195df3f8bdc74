from __future__ import annotations

import pytest
import torch

from bench.students.adapter import Adapter
from bench.students.config import StudentConfig
from bench.training import output as outputs
from bench.training.config import Precision
from bench.training.output import BlockBuffers, StepOutput
from bench.training.precision import encoding, factors, products

CPU = torch.device("cpu")


def chosen() -> tuple[str, bool]:
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("float32", ("highest", False)), ("tf32", ("high", True)), ("bf16", ("high", True))],
)
def test_products_are_exact_unless_asked_otherwise(
    precision: Precision, expected: tuple[str, bool]
) -> None:
    before = chosen()
    with products("float32"):
        with pytest.raises(ZeroDivisionError), products(precision):
            assert chosen() == expected
            raise ZeroDivisionError
        assert chosen() == ("highest", False)
    assert chosen() == before


def encoded(student: Adapter, precision: Precision) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states, and the gradient of the item embeddings."""
    history = torch.randint(1, 31, (16, 5), generator=torch.Generator().manual_seed(1))
    student.zero_grad()
    with encoding(precision, CPU):
        hidden = student.encode(history, torch.full((16,), 5), None).float()
    weights = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(2))
    (hidden * weights).sum().backward()
    assert student.item_offset.grad is not None
    return hidden.detach(), student.item_offset.grad.clone()


def test_bf16_encodes_what_float32_does_to_its_rounding() -> None:
    torch.manual_seed(0)
    student = Adapter.of(
        StudentConfig(model="SASRec", parameters={}),
        n_items=30,
        history=5,
        known_users=torch.ones(3, dtype=torch.bool),
        objective="ce",
    ).eval()
    exact, rounded = encoded(student, "float32"), encoded(student, "bf16")
    for plain, near in zip(exact, rounded, strict=True):
        assert near.dtype == torch.float32
        error = (near - plain).norm() / plain.norm()
        assert 1e-4 < error < 2e-2  # bfloat16 rounds by up to 2^-9 of a value
    assert torch.equal(encoded(student, "tf32")[0], exact[0])


ROWS, ITEMS, WIDTH = 24, 400, 64


def step(precision: Precision) -> StepOutput:
    generator = torch.Generator().manual_seed(4)
    hidden = torch.randn(ROWS, WIDTH, generator=generator).requires_grad_()
    table = (0.5 * torch.randn(ITEMS + 1, WIDTH, generator=generator)).requires_grad_()
    return StepOutput(hidden, table, BlockBuffers(), factors=factors(precision))


def softmax_terms(precision: Precision) -> tuple[torch.Tensor, ...]:
    """Two masses of every row, and the gradients of their sum."""
    output, ids = step(precision), torch.arange(1, ROWS * 3 + 1).view(ROWS, 3)
    target, rest = output.log_probs(ids[:, :1]).squeeze(1), output.log_rest(ids)
    (rest - target).sum().backward()
    assert output.hidden.grad is not None and output.table.grad is not None
    return target.detach(), rest.detach(), output.hidden.grad, output.table.grad


def test_bf16_makes_the_softmax_of_float32_to_its_rounding() -> None:
    exact, rounded = softmax_terms("float32"), softmax_terms("bf16")
    for plain, near in zip(exact, rounded, strict=True):
        assert near.dtype == torch.float32
        error = (near - plain).norm() / plain.norm()
        assert 1e-5 < error < 1e-2  # bfloat16 rounds by up to 2^-9 of a value
    # Errors of rows are not all of one sign: the mean loss is nearer than its rows.
    assert (rounded[1] - exact[1]).mean().abs() < 0.3 * (rounded[1] - exact[1]).abs().max()


def test_bf16_in_parts_is_bf16_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = softmax_terms("bf16")
    monkeypatch.setattr(outputs, "KEPT_BYTES", 0)
    monkeypatch.setattr(outputs, "PART_BYTES", 7 * 2 * (ITEMS + 1))  # 7 rows of 24
    for kept, again in zip(whole, softmax_terms("bf16"), strict=True):
        assert (again - kept).norm() < 2e-3 * kept.norm()


def test_bf16_leaves_chosen_scores_and_robust_terms_exact() -> None:
    exact, rounded = step("float32"), step("bf16")
    ids = torch.arange(1, ROWS + 1).unsqueeze(1)
    exponents = torch.rand(ITEMS + 1, generator=torch.Generator().manual_seed(5))
    assert torch.equal(exact.scores(ids), rounded.scores(ids))
    assert torch.equal(exact.robust(ids, exponents), rounded.robust(ids, exponents))
    assert torch.equal(exact.logits, rounded.logits)
    shared = torch.isin(rounded.top_k(20), exact.top_k(20)).float().mean()
    assert shared > 0.9
