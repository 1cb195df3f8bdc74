"""BERT4Rec reads a mask behind the history, and scores as RecBole's own program does."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bench.students.adapter import Adapter

from .conftest import HISTORY, N_ITEMS, make, rows


def biased(**parameters: object) -> Adapter:
    """A student whose items have biases; RecBole's begin with none."""
    student = make("BERT4Rec", **parameters).eval()
    with torch.no_grad():
        student.model.output_bias.copy_(torch.linspace(-1, 1, N_ITEMS + 1))
    return student


def recbole(student: Adapter, history: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """Scores [B, N + 1] by RecBole, which drops the oldest item: one more is put before each."""
    interaction = {"item_id_list": F.pad(history, (1, 0), value=7), "item_length": length + 1}
    scores: torch.Tensor = student.model.full_sort_predict(interaction)
    return scores


def test_scores_are_recboles() -> None:
    student = biased()
    history, length, user = rows()
    scores = student.logits(student.encode(history, length, user))
    assert torch.isinf(scores[:, 0]).all()
    expected = recbole(student, history, length)
    torch.testing.assert_close(scores[:, 1:], expected[:, 1:], atol=2e-6, rtol=1e-5)


def test_padding_does_not_change_an_encoding() -> None:
    student = biased()
    history, length, user = rows()
    padded = student.encode(history, length, user)
    for row, n in enumerate(length.tolist()):
        one = slice(row, row + 1)
        short = student.encode(history[one, :n], length[one], user[one])
        torch.testing.assert_close(short, padded[one], atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("output", [True, False])
def test_fusions_are_read_scored_and_folded(output: bool) -> None:
    student = biased()
    shift = torch.linspace(-1, 1, N_ITEMS + 1).unsqueeze(1).repeat(1, student.width)
    mask = student.items.mask.clone()
    student.fuse(shift.__getitem__, output=output)
    before = student.logits(student.encode(*rows()))
    student.fold()
    student.eval()
    assert torch.equal(student.logits(student.encode(*rows())), before)
    assert torch.equal(student.items.mask, mask)
    assert student.items.offset.shape == (N_ITEMS + 1, student.width)


def test_a_folded_student_loads_into_plain_recbole() -> None:
    student = biased()
    student.fuse(torch.full((N_ITEMS + 1, student.width), 0.1).__getitem__)
    student.fold()
    student.eval()
    history, length, user = rows()
    expected = student.logits(student.encode(history, length, user))
    plain = make("BERT4Rec").eval()
    plain.model.item_embedding = torch.nn.Embedding(N_ITEMS + 2, student.width, padding_idx=0)
    plain.model.load_state_dict(student.export_state())
    scores = recbole(plain, history, length)
    torch.testing.assert_close(scores[:, 1:], expected[:, 1:], atol=1e-5, rtol=1e-5)
    assert plain.model.max_seq_length == HISTORY + 1

    fresh = make("BERT4Rec").eval()
    fresh.import_state(student.export_state())
    assert torch.equal(fresh.logits(fresh.encode(history, length, user)), expected)
