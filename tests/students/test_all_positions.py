"""What is read at every position of a history is what would be read at the end of its prefixes."""

from __future__ import annotations

import pytest
import torch

from bench.students.abilities import problems
from bench.students.adapter import Adapter
from bench.students.config import StudentConfig
from bench.training.config import TrainingConfig

from .conftest import HISTORY, make, rows

MODELS = [("SASRec", {"n_layers": 1}), ("SASRec", {"n_layers": 3}), ("GRU4Rec", {})]


def places(length: torch.Tensor) -> torch.Tensor:
    """Every position that holds an item, row after row."""
    real = torch.arange(HISTORY) < length.unsqueeze(1)
    return real.flatten().nonzero().squeeze(1)


def prefixes(student: Adapter, history: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Encodings of the same prefixes, cut out one by one."""
    encoded = []
    for index in place.tolist():
        length = index % HISTORY + 1
        prefix = history[index // HISTORY, :length].unsqueeze(0)
        encoded.append(student.encode(prefix, torch.tensor([length]), None))
    return torch.cat(encoded)


@pytest.mark.parametrize(("model", "parameters"), MODELS)
def test_a_position_is_the_end_of_a_prefix(model: str, parameters: dict[str, int]) -> None:
    student = make(model, **parameters).eval()
    history, length, _ = rows(8)
    place = places(length)
    encoded = student.encode_at(history, place)
    torch.testing.assert_close(encoded, prefixes(student, history, place), atol=1e-5, rtol=0)


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec"])
def test_prompts_fusions_and_cosines_count_at_every_position(model: str) -> None:
    student = make(model, prompt_length=3).eval()
    vectors = torch.randn(3, student.width, generator=torch.Generator().manual_seed(2))
    student.prompt(lambda: vectors)
    student.fuse(lambda *_: torch.full_like(student.item_offset, 0.3))
    student.score_by_cosine(7.0)
    history, length, _ = rows(8)
    place = places(length)[::3]
    encoded = student.encode_at(history, place)
    torch.testing.assert_close(encoded, prefixes(student, history, place), atol=1e-5, rtol=0)
    torch.testing.assert_close(encoded.norm(dim=1), torch.full((len(place),), 7.0))


def test_sasrec_has_the_gradients_of_its_prefixes() -> None:
    student = make("SASRec", hidden_dropout_prob=0.0, attn_dropout_prob=0.0)
    history, length, _ = rows(8)
    place = places(length)
    gradients = []
    for encode in (student.encode_at, lambda h, p: prefixes(student, h, p)):
        student.zero_grad()
        student.begin_step()
        encode(history, place).square().sum().backward()
        gradients.append([p.grad.clone() for p in student.parameters() if p.grad is not None])
    for together, apart in zip(*gradients, strict=True):
        torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("model", ["Caser", "NARM"])
def test_a_model_that_is_read_at_the_end_alone_is_refused(model: str) -> None:
    found = problems(StudentConfig(model=model), TrainingConfig(positions="half"))
    assert len(found) == 1
    assert f"{model} is read at the end of a history only. Allowed: GRU4Rec, SASRec" in found[0]
    assert not hasattr(make(model), "encode_at")
