from __future__ import annotations

import pytest
import torch

from bench.students.adapter import Adapter
from bench.students.config import StudentConfig
from bench.training.config import Precision
from bench.training.precision import encoding, products

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
