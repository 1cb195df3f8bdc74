"""Prompts before histories, and sequences of vectors in place of items."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bench.errors import ConfigError
from bench.students.abilities import problems
from bench.students.adapter import Adapter
from bench.students.config import StudentConfig
from bench.training.config import TrainingConfig

from . import conftest
from .conftest import rows

MODELS = ["SASRec", "GRU4Rec", "Caser"]
K = 4


def make(model: str, prompt_length: int = K, **parameters: object) -> Adapter:
    return conftest.make(model, prompt_length=prompt_length, **parameters).eval()


def prompts(student: Adapter) -> torch.Tensor:
    return torch.randn(K, student.width, generator=torch.Generator().manual_seed(2)) * 0.1


def as_items(student: Adapter, history: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts that are the vectors of four items, and the history with these items before it."""
    ids = torch.tensor([9, 4, 4, 30])
    student.prompt(lambda: student.lookup(ids))
    return ids, torch.cat([ids.expand(len(history), -1), history], dim=1)


def all_positions(student: Adapter, sequence: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """RecBole's transformer over whole sequences with a mask written cell by cell: [B, S, d]."""
    count, size = valid.shape
    mask = torch.full((count, 1, size, size), -10000.0)
    for row in range(count):
        for reader in range(size):
            for read in range(reader + 1):
                if valid[row, read]:
                    mask[row, 0, reader, read] = 0.0
    model = student.model
    return model.trm_encoder(model.LayerNorm(sequence), mask)[-1]


@pytest.mark.parametrize("layers", [1, 2])
def test_sasrec_reads_prompts_without_a_place_before_items_that_keep_theirs(layers: int) -> None:
    student = make("SASRec", n_layers=layers)
    history, length, user = rows(8)
    given = prompts(student)
    student.prompt(lambda: given)
    items = student.lookup(history) + student.model.position_embedding.weight
    sequence = torch.cat([given.expand(8, -1, -1), items], dim=1)
    valid = torch.cat([torch.ones(8, K, dtype=torch.bool), history > 0], dim=1)
    outputs = all_positions(student, sequence, valid)
    expected = torch.stack([o[K + n - 1] for o, n in zip(outputs, length.tolist(), strict=True)])
    torch.testing.assert_close(student.encode(history, length, user), expected, atol=2e-6, rtol=0)


def test_gru4rec_is_fed_prompts_first() -> None:
    student = make("GRU4Rec")
    history, length, user = rows()
    _, longer = as_items(student, history)
    expected = student.model.forward(longer, length + K)
    torch.testing.assert_close(student.encode(history, length, user), expected)
    # The same as a history that begins with the state that the prompts leave behind.
    model, given = student.model, prompts(student)
    student.prompt(lambda: given)
    _, state = model.gru_layers(given.unsqueeze(0))
    out, _ = model.gru_layers(student.lookup(history), state.expand(-1, len(history), -1))
    expected = model.gather_indexes(model.dense(out), length - 1)
    torch.testing.assert_close(student.encode(history, length, user), expected)


def test_caser_has_prompts_as_first_rows_of_its_image() -> None:
    student = make("Caser")
    history, length, user = rows()
    known = torch.where(user == 3, 0, user + 1)
    blank = student.model.forward(known, F.pad(history, (K, 0)))
    assert torch.equal(student.encode(history, length, user), blank)
    _, longer = as_items(student, history)
    expected = student.model.forward(known, longer)
    torch.testing.assert_close(student.encode(history, length, user), expected)
    assert not torch.allclose(expected, blank)


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec"])
def test_room_for_prompts_changes_nothing_until_there_are_any(model: str) -> None:
    plain, student = make(model, 0), make(model)
    assert torch.equal(plain.encode(*rows()), student.encode(*rows()))
    student.prompt(lambda: prompts(student))
    assert not torch.allclose(plain.encode(*rows()), student.encode(*rows()))
    student.prompt(None)
    assert torch.equal(plain.encode(*rows()), student.encode(*rows()))


def test_caser_without_room_is_recbole_forward_itself() -> None:
    student = make("Caser", 0)
    history, length, user = rows()
    known = torch.where(user == 3, 0, user + 1)
    assert torch.equal(student.encode(history, length, user), student.model.forward(known, history))


@pytest.mark.parametrize("prompted", [True, False])
@pytest.mark.parametrize("model", MODELS)
def test_the_vectors_of_items_are_encoded_like_the_items(model: str, prompted: bool) -> None:
    student = make(model)
    if prompted:
        student.prompt(lambda: prompts(student))
    history, length, _ = rows()
    torch.testing.assert_close(
        student.encode_vectors(student.lookup(history), length),
        student.encode(history, length, None),
    )


@pytest.mark.parametrize("prompted", [True, False])
@pytest.mark.parametrize("model", MODELS)
def test_padding_does_not_change_an_encoding(model: str, prompted: bool) -> None:
    student = make(model)
    if prompted:
        student.prompt(lambda: prompts(student))
    history, length, user = rows()
    padded = student.encode(history, length, user)
    for row, n in enumerate(length.tolist()):
        one = slice(row, row + 1)
        short = student.encode(history[one, :n], length[one], user[one])
        torch.testing.assert_close(short, padded[one], atol=2e-6, rtol=1e-5)
    vectors = student.lookup(history)
    rubbish = torch.where((history == 0).unsqueeze(2), torch.randn_like(vectors), vectors)
    torch.testing.assert_close(
        student.encode_vectors(rubbish, length), student.encode_vectors(vectors, length)
    )


@pytest.mark.parametrize("model", MODELS)
def test_gradients_reach_prompts_and_vectors(model: str) -> None:
    student = make(model)
    given = prompts(student).requires_grad_()
    student.prompt(lambda: given)
    history, length, _ = rows()
    vectors = student.lookup(history).detach().requires_grad_()
    student.encode_vectors(vectors, length).square().sum().backward()
    assert (given.grad.abs().sum(dim=1) > 0).all()
    assert (vectors.grad.abs().sum(dim=2)[history == 0] == 0).all()
    assert (vectors.grad.abs().sum(dim=2)[history > 0] > 0).float().mean() > 0.5


@pytest.mark.parametrize("model", MODELS)
def test_prompts_become_part_of_the_student_and_of_its_state(model: str) -> None:
    student = make(model)
    before = sum(p.numel() for p in student.parameters())
    given = torch.nn.Parameter(prompts(student))
    student.prompt(lambda: given)
    hidden = student.encode(*rows())
    student.fold()
    assert torch.equal(student.encode(*rows()), hidden)
    assert sum(p.numel() for p in student.parameters()) == before + K * student.width
    given.data.zero_()
    assert torch.equal(student.encode(*rows()), hidden)
    state = {name: tensor.detach().clone() for name, tensor in student.export_state().items()}
    assert state["prompts"].shape == (K, student.width)
    fresh = make(model)
    torch.nn.init.normal_(fresh.item_offset)
    fresh.import_state(state)
    assert torch.equal(fresh.encode(*rows()), hidden)


def test_a_student_without_prompts_exports_none() -> None:
    student = make("SASRec")
    student.fold()
    assert "prompts" not in student.export_state()


def test_other_models_refuse_prompts_by_name() -> None:
    (found,) = problems(StudentConfig(model="NARM"), TrainingConfig(), prompts=K)
    assert found.endswith("student model NARM takes none. Allowed: Caser, GRU4Rec, SASRec")
    assert problems(StudentConfig(model="NARM"), TrainingConfig()) == []
    with pytest.raises(ConfigError, match="NARM takes no prompts"):
        make("NARM")
