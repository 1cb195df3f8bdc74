"""Encoding in parts changes what is kept for the backward pass, and nothing that comes of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bench.students import checkpointing
from bench.students.adapter import Adapter

from .conftest import N_ITEMS, make, rows

Encode = Callable[..., torch.Tensor]
MODELS = ["SASRec", "GRU4Rec", "Caser"]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """32 rows make three parts of ten and one of two."""
    monkeypatch.setattr(checkpointing, "PART_ROWS", 10)


def step(student: Adapter, encode: Encode) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """What is encoded in training, and the gradients of all that it is made of."""
    student.zero_grad()
    student.begin_step()
    torch.manual_seed(5)
    hidden = encode(*rows())
    torch.manual_seed(6)  # the backward pass must not depend on where the generator stands
    (hidden @ student.item_table().T).square().sum().backward()
    return hidden, [p.grad.clone() for p in student.parameters() if p.grad is not None]


def assert_same(student: Adapter, one: Encode, other: Encode) -> None:
    (hidden, gradients), (expected, wanted) = step(student, one), step(student, other)
    torch.testing.assert_close(hidden, expected, atol=1e-5, rtol=1e-5)
    assert len(gradients) == len(wanted)
    for gradient, want in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient, want, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("model", MODELS)
def test_values_and_gradients_are_those_of_the_whole_batch(model: str) -> None:
    student = make(model).eval()
    assert_same(student, student.encode_in_parts, student.encode)


@pytest.mark.parametrize("model", MODELS)
def test_prompts_fusions_and_cosines_have_their_gradients(model: str) -> None:
    student = make(model, prompt_length=3).eval()
    vectors = torch.nn.Parameter(torch.randn(3, student.width))
    shift = torch.nn.Parameter(torch.randn(N_ITEMS + 1, student.width))
    student.register_parameter("vectors", vectors)
    student.register_parameter("shift", shift)
    student.prompt(lambda: 2 * vectors)
    student.fuse(lambda which: 2 * shift[which])
    student.score_by_cosine(7.0)
    assert_same(student, student.encode_in_parts, student.encode)
    assert vectors.grad is not None
    assert shift.grad is not None


@pytest.mark.parametrize("model", MODELS)
def test_both_passes_drop_the_same(model: str) -> None:
    student = make(model).train()

    def kept(*whole: torch.Tensor) -> torch.Tensor:
        parts = zip(*(column.split(10) for column in whole), strict=True)
        return torch.cat([student.encode(*part) for part in parts])

    assert_same(student, student.encode_in_parts, kept)


def test_little_is_kept() -> None:
    student = make("SASRec").train()
    history, length, user = (column.repeat_interleave(40, dim=0) for column in rows())
    kept = {}
    for encode in (student.encode, student.encode_in_parts):
        student.begin_step()
        sizes: dict[int, int] = {}

        def keep(tensor: torch.Tensor, sizes: dict[int, int] = sizes) -> torch.Tensor:
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            encode(history, length, user)
        kept[encode.__name__] = sum(sizes.values())
    assert kept["encode_in_parts"] < 0.1 * kept["encode"]
