from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.errors import ConfigError
from bench.students import properties
from bench.students.abilities import ADAPTERS
from bench.students.config import StudentConfig

from .conftest import N_ITEMS, make, rows


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_fast_sasrec_equals_recbole_forward(layers: int, activation: str) -> None:
    student = make("SASRec", n_layers=layers, hidden_act=activation).eval()
    history, length, user = rows()
    expected = student.model.forward(history, length)
    torch.testing.assert_close(student.encode(history, length, user), expected, atol=2e-6, rtol=0)


def test_fast_sasrec_has_the_gradients_of_recbole_forward() -> None:
    student = make("SASRec", hidden_dropout_prob=0.0, attn_dropout_prob=0.0)
    history, length, user = rows()
    gradients = []
    for encode in (student.encode, lambda h, n, _: student.model.forward(h, n)):
        student.zero_grad()
        student.items.forget()
        encode(history, length, user).square().sum().backward()
        gradients.append([p.grad.clone() for p in student.parameters() if p.grad is not None])
    for fast, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(fast, plain, atol=1e-4, rtol=1e-4)


def test_gru4rec_and_caser_run_recbole_forward_itself() -> None:
    history, length, user = rows()
    gru = make("GRU4Rec").eval()
    assert torch.equal(gru.encode(history, length, user), gru.model.forward(history, length))
    caser = make("Caser").eval()
    known = torch.where(user == 3, 0, user + 1)
    assert torch.equal(caser.encode(history, length, user), caser.model.forward(known, history))


def test_a_user_without_training_rows_is_a_zero_vector() -> None:
    caser = make("Caser").eval()
    history, length, _ = rows(2)
    same = history[:1].expand(2, -1)
    hidden = caser.encode(same, length[:1].expand(2), torch.tensor([3, 4]))
    assert not torch.equal(hidden[0], hidden[1])
    assert torch.equal(caser.model.user_embedding.weight[0], torch.zeros(caser.width))


@pytest.mark.parametrize("model", ADAPTERS.names())
def test_padding_is_zero_and_never_scored(model: str) -> None:
    student = make(model).eval()
    assert torch.equal(student.item_table()[0], torch.zeros(student.width))
    scores = student.logits(student.encode(*rows()))
    assert torch.isinf(scores[:, 0]).all()
    assert torch.isfinite(scores[:, 1:]).all()


def test_what_follows_the_history_does_not_change_its_encoding() -> None:
    student = make("SASRec").eval()
    history, length, user = rows()
    garbage = history.clone()
    garbage[history == 0] = 5
    # RecBole masks by `item_seq != 0`; causality keeps later positions out even so.
    torch.testing.assert_close(
        student.encode(history, length, user),
        student.encode(garbage, length, user),
        atol=2e-6,
        rtol=0,
    )


def test_fusion_reaches_lookup_and_head_and_folds_away() -> None:
    for output in (True, False):
        student = make("SASRec").eval()
        plain = student.encode(*rows())
        own = student.item_table().clone()
        shift = torch.full((N_ITEMS + 1, student.width), 0.05)
        student.fuse(shift.__getitem__, output=output)
        fused = student.encode(*rows())
        table = student.item_table().clone()
        assert not torch.allclose(fused, plain)
        assert torch.equal(table, own) is not output
        assert torch.equal(table[0], torch.zeros(student.width))
        student.items.fold()
        student.eval()
        assert torch.equal(student.encode(*rows()), fused)
        assert torch.equal(student.item_table(), table)


def test_several_fusions_on_different_sides_all_count() -> None:
    student = make("SASRec").eval()
    own = student.item_offset.detach().clone()
    ones = torch.ones(N_ITEMS + 1, student.width)
    student.fuse(lambda which: ones[which], output=True)
    student.fuse(lambda which: 2 * ones[which], output=False)
    student.fuse(lambda which: 4 * ones[which], output=True)
    lookup, head = student.items.lookup, student.items.weight
    torch.testing.assert_close(lookup[1:], own[1:] + 7)
    torch.testing.assert_close(head[1:], own[1:] + 5)


@pytest.mark.parametrize("output", [True, False])
@pytest.mark.parametrize("objective", ["ce", "bce"])
def test_items_fused_by_row_are_those_of_the_whole_table(objective: str, output: bool) -> None:
    asked: list[int | None] = []
    found = []
    for by_row in (True, False):
        student = make("SASRec", objective, hidden_dropout_prob=0.0, attn_dropout_prob=0.0)
        shift = torch.linspace(-1, 1, N_ITEMS + 1).unsqueeze(1).repeat(1, student.width)
        shift.requires_grad_()

        def fusion(which: torch.Tensor | slice, shift: torch.Tensor = shift) -> torch.Tensor:
            asked.append(len(which) if isinstance(which, torch.Tensor) else None)
            return shift[which]

        student.fuse(fusion, output=output)
        student.train()
        if not by_row:
            assert student.items.lookup is not None and student.item_table() is not None
        history, length, user = rows()
        hidden = student.encode(history, length, user)
        scores = (hidden.unsqueeze(1) * student.keys_of(history)).sum(dim=2)
        scores.square().sum().backward()
        found.append((scores.detach(), shift.grad, student.item_offset.grad))
    for one, whole in zip(*found, strict=True):
        torch.testing.assert_close(one, whole, atol=1e-5, rtol=1e-5)
        assert one.abs().sum() > 0
    assert found[0][1][0].abs().sum() == 0  # nothing of padding
    few = len(rows()[0].unique())
    expected = {("ce", True): [None], ("bce", True): [few, few]}.get((objective, output), [few])
    assert asked == [*expected, None]


def test_replaced_items_are_read_scored_and_folded_while_the_own_ones_rest() -> None:
    student = make("GRU4Rec").eval()
    items = torch.randn(N_ITEMS + 1, student.width)
    student.replace_items(lambda: items)
    assert not student.item_offset.requires_grad
    fused = student.encode(*rows())
    assert torch.equal(student.item_table()[1:], items[1:])
    assert not student.item_table()[0].any()
    assert not torch.allclose(fused, make("GRU4Rec").eval().encode(*rows()))
    student.fold()
    items.zero_()
    assert torch.equal(student.encode(*rows()), fused) and student.item_offset.requires_grad
    assert "head" not in student.export_state()


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "Caser"])
def test_a_scoring_table_may_be_made_by_the_encoder_itself(model: str) -> None:
    student = make(model).eval()
    calls = []

    def scoring() -> torch.Tensor:
        calls.append(1)
        ids = torch.arange(N_ITEMS + 1).clamp(min=1).unsqueeze(1)
        return student.encode(ids, torch.ones(N_ITEMS + 1, dtype=torch.int64), None)

    items = torch.randn(N_ITEMS + 1, student.width)
    student.replace_items(lambda: items, scoring)
    student.score_by_cosine(7.0)
    hidden, table = student.encode(*rows()), student.item_table()
    torch.testing.assert_close(hidden.norm(dim=1), torch.full((len(hidden),), 7.0))
    torch.testing.assert_close(table[1:].norm(dim=1), torch.ones(N_ITEMS))
    assert calls == [1]  # once a step, however often it is read
    order = student.logits(hidden).argsort(dim=1)
    student.fold()
    student.eval()
    # Folding drops the length of hidden states, which moves no item within a row.
    assert torch.equal(student.logits(student.encode(*rows())).argsort(dim=1), order)
    assert student.export_state()["head"].shape == table.shape


@pytest.mark.parametrize("output", [True, False])
def test_exported_state_reloads_to_the_same_student(output: bool) -> None:
    student = make("GRU4Rec").eval()
    student.fuse(torch.full((N_ITEMS + 1, student.width), 0.1).__getitem__, output=output)
    student.items.fold()
    student.eval()
    state = student.export_state()
    assert ("head" in state) is not output
    fresh = make("GRU4Rec", dropout_prob=0.1).eval()
    fresh.import_state(state)
    hidden = student.encode(*rows())
    assert torch.equal(fresh.encode(*rows()), hidden)
    assert torch.equal(fresh.logits(hidden), student.logits(hidden))


def test_a_folded_student_loads_into_plain_recbole() -> None:
    student = make("SASRec").eval()
    student.fuse(torch.full((N_ITEMS + 1, student.width), 0.1).__getitem__)
    student.items.fold()
    plain = make("SASRec").model
    plain.item_embedding = torch.nn.Embedding(N_ITEMS + 1, student.width, padding_idx=0)
    plain.load_state_dict(student.export_state())
    history, length, user = rows()
    scores = plain.eval().full_sort_predict({"item_id_list": history, "item_length": length})
    student.eval()
    expected = student.logits(student.encode(history, length, user))
    torch.testing.assert_close(scores[:, 1:], expected[:, 1:], atol=1e-4, rtol=1e-5)


def asked(history: torch.Tensor, length: torch.Tensor, user: torch.Tensor) -> dict[str, object]:
    """Rows as RecBole's own models take them, with a target each."""
    target = torch.arange(len(history)) % N_ITEMS + 1
    known = torch.where(user == 3, 0, user + 1)
    fields = {"item_id_list": history, "item_length": length, "user_id": known}
    return fields | {"item_id": target}


@pytest.mark.parametrize("model", sorted({*ADAPTERS.names()} - {"BERT4Rec"}))
def test_a_student_scores_and_is_regularised_as_recbole_does(model: str) -> None:
    student = make(model).eval()
    interaction = asked(*rows())
    scores = student.encode(*rows()) @ student.item_table().T
    expected = student.model.full_sort_predict(interaction).view(scores.shape)
    torch.testing.assert_close(scores, expected, atol=2e-6, rtol=1e-5)

    # RecBole leaves padding in its softmax, which is why the objective is not compared itself.
    objective = torch.nn.functional.cross_entropy(scores, interaction["item_id"])
    penalty = student.model.calculate_loss(interaction) - objective
    own = student.penalty()
    assert (own is None) == (float(penalty.detach()) == pytest.approx(0, abs=2e-6))
    if own is not None:
        torch.testing.assert_close(own, penalty, atol=2e-6, rtol=1e-3)
        own.backward()
        assert student.item_offset.grad.abs().sum() > 0


def test_a_penalty_may_weigh_nothing() -> None:
    penalty = make("NextItNet", reg_weight=0.0).penalty()
    assert penalty is not None and penalty.item() == 0.0


@pytest.mark.parametrize("model", sorted({*properties.model_names()} - {*ADAPTERS.names()}))
def test_a_model_that_cannot_be_a_student_is_refused(model: str) -> None:
    with pytest.raises(
        ConfigError, match=f"RecBole's {model} cannot be used.*Allowed: BERT4Rec, Caser"
    ):
        make(model)


def test_scientific_notation_in_recbole_files_is_read_as_numbers() -> None:
    assert properties.defaults("SASRec")["layer_norm_eps"] == 1e-12
    assert properties.defaults("Caser")["reg_weight"] == 1e-4


def test_unknown_model_and_parameter_name_their_nearest_match() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'SASRec'"):
        properties.check(StudentConfig(model="SASRek"))
    with pytest.raises(ConfigError, match=r"student\.hidden_sise.*Did you mean 'hidden_size'"):
        properties.check(StudentConfig(model="SASRec", parameters={"hidden_sise": 3}))
    with pytest.raises(ConfigError, match="loss_type"):
        properties.check(StudentConfig(model="SASRec", parameters={"loss_type": "BPR"}))


def test_importing_recbole_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    code = (
        "import os, sys, torch\n"
        "from bench.students.config import StudentConfig\n"
        "from bench.students.adapter import Adapter\n"
        "sys.argv = ['bench', '--hidden_size=9', '--epochs=7']\n"
        "s = Adapter.of(StudentConfig(model='SASRec'), n_items=5, history=4,\n"
        "    known_users=torch.ones(2, dtype=torch.bool), objective='ce')\n"
        "assert s.width == 64, s.width\n"
        "assert not torch.is_anomaly_enabled()\n"
        "assert 'ray' not in sys.modules\n"
        "assert os.listdir('.') == [], os.listdir('.')\n"
    )
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
