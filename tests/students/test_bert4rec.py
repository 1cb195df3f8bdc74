"""BERT4Rec reads a mask behind the history, and scores as RecBole's own program does."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bench.distillation import Batch
from bench.errors import ConfigError
from bench.students.abilities import problems
from bench.students.adapter import Adapter
from bench.students.config import StudentConfig
from bench.training.config import TrainingConfig
from bench.training.objectives import OBJECTIVES
from bench.training.output import BlockBuffers, StepOutput
from bench.training.rows import DeviceRows

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


def test_of_n_items_a_share_and_at_least_one_is_hidden_each_as_often() -> None:
    student = biased(mask_ratio=0.3)
    history, length, _ = rows(4000)
    target = torch.arange(len(history)) % N_ITEMS + 1
    shown = []
    student.model.register_forward_pre_hook(lambda _, given: shown.append(given[0]))
    torch.manual_seed(3)
    hidden, ids, hides = student.cloze(history, length, target)
    (masked,) = shown
    whole = F.pad(history, (0, 1)).scatter(1, length.unsqueeze(1), target.unsqueeze(1))
    mask = masked == N_ITEMS + 1
    assert torch.equal(masked[~mask], whole[~mask])
    assert not mask[whole == 0].any()
    assert mask.sum(dim=1).tolist() == [max(1, round(0.3 * (n + 1))) for n in length.tolist()]
    assert int(mask.sum()) == int(hides.sum())
    for n in range(1, HISTORY + 1):
        often = mask[length == n, : n + 1].float().mean(dim=0)
        assert (often - often.mean()).abs().max() < 0.12
    # What is scored is what was hidden: encodings of these places, and the items of these places.
    assert (ids[hides] > 0).all()
    states = student.model(masked)
    at = states[mask]
    expected = sorted(at.sum(dim=1).tolist())
    assert sorted(hidden[hides].sum(dim=1).tolist()) == pytest.approx(expected, abs=1e-4)
    assert sorted(ids[hides].tolist()) == sorted(whole[mask].tolist())


def test_the_objective_is_recboles_loss_on_the_same_masks() -> None:
    """RecBole's own `calculate_loss` keeps padding in its softmax, where -inf is put here."""
    student = biased(ft_ratio=0.25)
    history, length, user = rows()
    target = torch.arange(len(history)) % N_ITEMS + 1
    torch.manual_seed(3)
    hidden, ids, hides = student.cloze(history, length, target)
    scores = student.logits(hidden)[hides]
    cloze = F.cross_entropy(scores, ids[hides])
    last = F.cross_entropy(student.logits(student.encode(history, length, user)), target)
    objective = OBJECTIVES["cloze"].make(TrainingConfig(objective="cloze"), torch.ones(1), student)
    output = StepOutput(student.encode(history, length, user), student, BlockBuffers())
    rows_ = DeviceRows(history, length, target, user, length)
    batch = Batch.of(rows_, torch.arange(len(history)), torch.Generator())
    torch.manual_seed(3)
    found = objective(batch, output)
    torch.testing.assert_close(found, 0.25 * last + 0.75 * cloze)
    found.backward()
    assert student.items.mask.grad.abs().sum() > 0
    assert student.model.output_bias.grad[1:].abs().sum() > 0
    assert not student.item_offset.grad[0].any()


def test_shares_that_are_none_are_rejected() -> None:
    for parameters in ({"mask_ratio": 0.0}, {"mask_ratio": 1.1}, {"ft_ratio": -0.1}):
        with pytest.raises(ConfigError, match="0 < mask_ratio <= 1 and 0 <= ft_ratio <= 1"):
            make("BERT4Rec", **parameters)


def test_other_students_have_no_mask() -> None:
    training = TrainingConfig(objective="cloze")
    (found,) = problems(StudentConfig(model="SASRec"), training)
    assert "SASRec has no mask" in found and found.endswith("Allowed: BERT4Rec")
    assert problems(StudentConfig(model="BERT4Rec"), training) == []
