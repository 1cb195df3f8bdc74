"""Soft prompts filled by a teacher's behaviour, against loops written from the equations."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from bench.distillation import Batch, Knowledge, Method, MethodConfig
from bench.students.abilities import problems
from bench.students.adapter import Adapter
from bench.students.config import StudentConfig
from bench.training.config import TrainingConfig
from bench.training.loop import Streams, fit
from bench.training.output import BlockBuffers, StepOutput
from bench.training.rows import DeviceRows
from methods.delrec_reverse.candidates import log_softmax_over
from methods.delrec_reverse.method import DelrecReverse
from methods.delrec_reverse.prefixes import last_masked, previous_rows

MODELS = ["SASRec", "GRU4Rec", "Caser"]
SMALL = {
    "SASRec": {"hidden_size": 8, "inner_size": 8, "n_layers": 2, "n_heads": 2},
    "GRU4Rec": {"embedding_size": 8, "hidden_size": 8},
    "Caser": {"embedding_size": 8},
}
N_ITEMS, N_USERS, HISTORY, LISTED, K = 40, 12, 5, 15, 3


def make_rows() -> DeviceRows:
    """All prefixes of the histories of 12 users, in a random order; histories hold 2-9 items."""
    random = np.random.default_rng(3)
    table: list[tuple[list[int], int, int, int]] = []
    for user in range(N_USERS):
        items = random.integers(1, N_ITEMS + 1, 2 + user % 8).tolist()
        for ordinal in range(1, len(items)):
            table.append((items[:ordinal][-HISTORY:], items[ordinal], user, ordinal))
    order = random.permutation(len(table))
    table = [table[place] for place in order]
    history = [past + [0] * (HISTORY - len(past)) for past, *_ in table]
    columns = zip(*[(len(past), y, user, ordinal) for past, y, user, ordinal in table], strict=True)
    length, target, users, ordinal = (torch.tensor(column) for column in columns)
    return DeviceRows(torch.tensor(history), length, target, users, ordinal)


ROWS = make_rows()
N_ROWS = len(ROWS)


def make_knowledge() -> Knowledge:
    generator = torch.Generator().manual_seed(5)
    embeddings = torch.randn(N_ITEMS + 1, 6, generator=generator)
    embeddings[0] = 0
    return Knowledge(
        target_counts=torch.ones(N_ITEMS + 1),
        rows=ROWS,
        embeddings=embeddings,
        rankings=torch.rand(N_ROWS, N_ITEMS, generator=generator).argsort(dim=1)[:, :LISTED] + 1,
        covered=torch.arange(N_ROWS) % 5 > 0,
    )


def make_student(model: str = "SASRec", prompt_length: int = K) -> Adapter:
    torch.manual_seed(2)
    return Adapter.of(
        StudentConfig(model=model, parameters=SMALL[model]),
        n_items=N_ITEMS,
        history=HISTORY,
        known_users=torch.ones(N_USERS, dtype=torch.bool),
        objective="ce",
        prompt_length=prompt_length,
    )


def attached(
    model: str = "SASRec", knowledge: Knowledge | None = None, **chosen: Any
) -> tuple[DelrecReverse, Adapter]:
    student = make_student(model)
    torch.manual_seed(4)
    method = DelrecReverse(
        DelrecReverse.Config(**{"prompts": K, "listed": 6, "candidates": 12} | chosen)
    )
    method.attach(student, knowledge or make_knowledge())
    return method, student


def make_batch(seed: int = 7) -> Batch:
    return Batch.of(ROWS, torch.arange(N_ROWS), torch.Generator().manual_seed(seed))


def outcome(student: Adapter, batch: Batch) -> StepOutput:
    student.begin_step()
    hidden = student.encode(batch.history, batch.length, batch.user)
    return StepOutput(hidden, student.item_table(), BlockBuffers())


def softmax(values: list[float]) -> list[float]:
    top = max(values)
    mass = [math.exp(value - top) for value in values]
    return [m / sum(mass) for m in mass]


# --- rows and sequences ---------------------------------------------------------------------------


def test_the_row_before_is_that_of_the_prefix_without_the_last_item() -> None:
    keys = list(zip(ROWS.user.tolist(), ROWS.ordinal.tolist(), strict=True))
    expected = [keys.index((u, o - 1)) if (u, o - 1) in keys else -1 for u, o in keys]
    assert previous_rows(ROWS).tolist() == expected
    assert -1 in expected
    for row, before in enumerate(expected):
        if before >= 0:
            assert ROWS.target[before] == ROWS.history[row, ROWS.length[row] - 1]


def test_the_last_item_is_hidden_between_those_before_it_and_the_target() -> None:
    student, batch = make_student().eval(), make_batch()
    mask = torch.full((student.width,), 7.0)
    vectors, length = last_masked(batch, student, mask)
    table = student.item_table()
    for row in range(N_ROWS):
        past = ROWS.history[row, : ROWS.length[row]].tolist()
        wanted = [table[i] for i in past[:-1]] + [mask, table[ROWS.target[row]]]
        wanted = wanted[-HISTORY:]
        assert length[row] == len(wanted)
        assert torch.equal(vectors[row, : len(wanted)], torch.stack(wanted))
        assert not vectors[row, len(wanted) :].any()


# --- candidates -----------------------------------------------------------------------------------


def test_every_candidate_set_of_the_tasks_holds_the_truth_once() -> None:
    method, _ = attached()
    batch, knowledge = make_batch(), make_knowledge()
    before = previous_rows(ROWS).tolist()
    ids, real = method.tasks.analysis.candidates(batch)
    assert ids.shape == (N_ROWS, 12)
    assert real.all()
    ranked, _ = method.tasks.simulation.candidates(batch)
    for row in range(N_ROWS):
        past = ROWS.history[row, : ROWS.length[row]].tolist()
        found = ids[row].tolist()
        assert len(set(found)) == 12
        assert min(found) >= 1
        assert found.count(past[-1]) == 1
        assert found[0] == past[-1]
        known = before[row] >= 0 and bool(knowledge.covered[before[row]])
        listed = knowledge.rankings[before[row], :6].tolist() if known else []
        assert set(listed) <= set(found)
        assert not (set(found) - {past[-1]} - set(listed)) & set(past)
        found, listed = ranked[row].tolist(), knowledge.rankings[row, :6].tolist()
        assert found[:6] == listed
        assert len(set(found)) == 12
        assert not set(found[6:]) & {0, *past, int(ROWS.target[row]), *listed}


# --- the two tasks --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["list", "top1"])
def test_simulation_is_the_weighted_ranking_of_the_list(form: str) -> None:
    method, student = attached(simulation={"form": form})
    student.eval()
    out = outcome(student, make_batch())
    loss = method.tasks.simulation.loss(make_batch(), out.hidden, out.table)
    ids, _ = method.tasks.simulation.candidates(make_batch())
    weights = softmax([-float(rank) for rank in range(1, 7)]) if form == "list" else [1.0]
    scores = out.scores(ids).double().tolist()
    values = []
    for row in torch.nonzero(make_knowledge().covered).squeeze(1).tolist():
        s = scores[row]
        values.append(
            sum(w * (math.log(sum(map(math.exp, s[k:]))) - s[k]) for k, w in enumerate(weights))
        )
    assert float(loss.detach()) == pytest.approx(sum(values) / len(values), rel=1e-5)


@pytest.mark.parametrize("soft_share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("model", MODELS)
def test_analysis_is_the_hard_and_the_soft_target_of_rows_of_two_items(
    model: str, soft_share: float
) -> None:
    method, student = attached(model, analysis={"soft_share": soft_share})
    student.eval()
    student.prompt(lambda: method.prompts)
    knowledge, analysis = make_knowledge(), method.tasks.analysis
    out = outcome(student, make_batch())
    loss = analysis.loss(make_batch(), out.table, method.mask)
    ids, real = analysis.candidates(make_batch())
    target = log_softmax_over(analysis.expected(make_batch(), ids), real).exp().tolist()
    hidden = student.encode_vectors(*last_masked(make_batch(), student, method.mask))
    scores = torch.einsum("bd,bmd->bm", hidden, out.table[ids]).double().tolist()
    before = previous_rows(ROWS).tolist()
    z = knowledge.embeddings.double().numpy()
    values = []
    for row in range(N_ROWS):
        if ROWS.length[row] < 2:
            continue
        y, found, p = int(ROWS.target[row]), ids[row].tolist(), softmax(scores[row])
        known = before[row] >= 0 and bool(knowledge.covered[before[row]])
        listed = knowledge.rankings[before[row], :6].tolist() if known else []
        rank = [listed.index(j) if j in listed else 6 for j in found]
        cosine = [z[j] @ z[y] / np.linalg.norm(z[j]) / np.linalg.norm(z[y]) for j in found]
        q = softmax([c / 0.1 - r / 5 for c, r in zip(cosine, rank, strict=True)])
        assert target[row] == pytest.approx(q, abs=1e-6)
        assert sum(target[row]) == pytest.approx(1)
        soft = sum(a * math.log(a / b) for a, b in zip(q, p, strict=True) if a > 0)
        share = soft_share if known else 0.0
        values.append(-(1 - share) * math.log(p[0]) + share * soft)
    assert 0 < len(values) < N_ROWS
    assert float(loss.detach()) == pytest.approx(sum(values) / len(values), rel=1e-4)


def test_rows_of_one_item_do_not_count_in_the_analysis() -> None:
    method, student = attached()
    student.eval()
    student.prompt(lambda: method.prompts)
    one = ROWS.length == 1
    batch = dataclasses.replace(
        make_batch(),
        row_id=torch.arange(N_ROWS)[one],
        **{name: getattr(ROWS, name)[one] for name in ("history", "length", "target", "user")},
    )
    assert one.any()
    assert method.tasks.analysis.loss(batch, student.item_table(), method.mask) == 0


def test_a_tiny_catalogue_ranks_what_there_is() -> None:
    rows = dataclasses.replace(
        ROWS, history=ROWS.history.clamp(max=3), target=ROWS.target.clamp(max=3)
    )
    knowledge = dataclasses.replace(
        make_knowledge(),
        rows=rows,
        rankings=torch.tensor([[2, 1, 3]]).expand(N_ROWS, -1).contiguous(),
    )
    torch.manual_seed(2)
    student = Adapter.of(
        StudentConfig(model="SASRec", parameters=SMALL["SASRec"]),
        n_items=3,
        history=HISTORY,
        known_users=torch.ones(N_USERS, dtype=torch.bool),
        objective="ce",
    )
    method = DelrecReverse(DelrecReverse.Config())
    method.attach(student, knowledge)
    method.on_stage_start(1)
    batch = dataclasses.replace(make_batch(), history=rows.history, target=rows.target)
    terms = method.loss(batch, outcome(student, batch))
    sum(terms.values()).backward()
    assert all(torch.isfinite(term) for term in terms.values())
    assert torch.isfinite(method.prompts.grad).all()


def test_draws_come_from_the_generator_of_the_batch() -> None:
    method, student = attached()
    student.eval()
    method.on_stage_start(1)
    values = []
    for noise, seed in ((1, 7), (2, 7), (1, 8)):
        torch.manual_seed(noise)
        values.append(method.loss(make_batch(seed), outcome(student, make_batch())))
    assert values[0] == values[1]
    assert values[0]["simulation"] != values[2]["simulation"]
    assert values[0]["analysis"] != values[2]["analysis"]


# --- the stages -----------------------------------------------------------------------------------


class Recorded(DelrecReverse):
    """Notes the state of method and student when a stage begins."""

    def on_stage_start(self, stage: int) -> None:
        super().on_stage_start(stage)
        self.notes.append(snapshot(self, self.student_module[0]))


def snapshot(method: Method, student: Adapter) -> dict[str, torch.Tensor]:
    state = {f"method.{k}": v for k, v in method.state_dict().items()}
    state |= {f"student.{k}": v for k, v in student.state_dict().items()}
    return {k: v.detach().clone() for k, v in state.items()}


def train(method: Method, student: Adapter, epochs: int = 2) -> list[dict[str, float]]:
    config = TrainingConfig(batch_size=16, learning_rate=0.01, max_epochs=epochs, min_epochs=epochs)
    generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    torch.manual_seed(9)
    scores = iter(range(1000))  # the last epoch is the best of its stage
    return fit(
        student,
        method,
        ROWS,
        torch.ones(N_ITEMS + 1),
        config,
        Streams(*generators),
        lambda: {"ndcg@20": float(next(scores))},
    ).curve


def trained(
    model: str = "SASRec", **chosen: Any
) -> tuple[list[dict[str, torch.Tensor]], list[dict[str, float]], Adapter]:
    """States at the beginning of each stage and after the last one, the curve, the student."""
    student = make_student(model)
    torch.manual_seed(4)
    chosen = {"prompts": K, "listed": 6, "candidates": 12, "fill_epochs": 3} | chosen
    method = Recorded(DelrecReverse.Config(**chosen))
    method.notes, method.student_module = [], [student]
    method.attach(student, make_knowledge())
    curve = train(method, student)
    return [*method.notes, snapshot(method, student)], curve, student


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("model", MODELS)
def test_each_stage_changes_what_is_its_own(model: str) -> None:
    (begin, filling, recommending, end), curve, _ = trained(model)
    assert changed(filling, recommending) == {"method.prompts", "method.mask"}
    own = {name for name in changed(recommending, end) if name.startswith("student.")}
    assert own == changed(recommending, end)  # neither prompts nor mask
    assert "student.items.offset" in own
    # The start of the second stage gives prompts the scale of the trained embeddings.
    scale = filling["student.items.offset"][1:].std()
    torch.testing.assert_close(filling["method.prompts"], begin["method.prompts"] * scale)
    assert [epoch["stage"] for epoch in curve] == [1, 1, 2, 2, 2, 3, 3]
    assert {"base", "analysis"} & curve[0].keys() == {"base"}
    assert {"base", "analysis", "simulation"} & curve[2].keys() == {"analysis", "simulation"}
    assert {"base", "analysis", "simulation"} & curve[5].keys() == {"base"}


@pytest.mark.parametrize("model", MODELS)
def test_the_first_stage_is_none_bit_for_bit(model: str) -> None:
    (_, filling, *_), curve, _ = trained(model)
    student = make_student(model)
    plain = train(Method(MethodConfig()), student)
    for name, tensor in student.state_dict().items():
        assert torch.equal(filling[f"student.{name}"], tensor), name
    assert [epoch["base"] for epoch in plain] == [epoch["base"] for epoch in curve[:2]]


def test_without_prompts_it_is_none() -> None:
    method = DelrecReverse(DelrecReverse.Config(prompts=0))
    student = make_student(prompt_length=0)
    method.attach(student, make_knowledge())
    assert len(method.stages()) == 1
    assert not list(method.parameters())
    assert method.loss(make_batch(), outcome(student, make_batch())) == {}
    assert DelrecReverse.prompt_length(DelrecReverse.Config(prompts=5)) == 5


@pytest.mark.parametrize("model", MODELS)
def test_the_finished_student_reads_the_filled_prompts(model: str) -> None:
    (*_, end), _, student = trained(model)
    student.eval()
    batch = make_batch()
    hidden = student.encode(batch.history, batch.length, batch.user)
    student.fold()
    assert torch.equal(student.encode(batch.history, batch.length, batch.user), hidden)
    assert torch.equal(student.export_state()["prompts"], end["method.prompts"])


def test_filling_is_judged_by_rows_it_does_not_see() -> None:
    method, student = attached()
    fill = method.stages()[1]
    kept = set(method.held_out.kept.tolist())
    seen = set(fill.rows.tolist())
    assert not kept & seen
    assert kept | seen == set(torch.nonzero(make_knowledge().covered).squeeze(1).tolist())
    method.on_stage_start(1)
    first = fill.monitor()
    torch.rand(5)
    assert fill.monitor() == first
    numbers = method.on_epoch_start(1, 20)
    assert student.training
    assert -sum(numbers.values()) == pytest.approx(first)
    assert numbers.keys() == {"held_out_analysis", "held_out_simulation"}
    (batch,) = method.held_out.batches()
    student.eval()
    terms = method.loss(batch, outcome(student, batch))
    assert numbers["held_out_analysis"] == pytest.approx(
        float(terms["analysis"].detach()), rel=1e-5
    )


@pytest.mark.parametrize("model", MODELS)
def test_prompts_alone_learn_a_list_that_every_row_shares(model: str) -> None:
    lists = make_knowledge().rankings[:1].expand(N_ROWS, -1).contiguous()
    method, student = attached(
        model,
        dataclasses.replace(make_knowledge(), rankings=lists),
        analysis={"weight": 0.0},
        fill_learning_rate=0.05,
    )
    curve = [epoch for epoch in train(method, student, 20) if epoch["stage"] == 2]
    # The first number is that of random prompts.
    assert curve[-1]["held_out_simulation"] < curve[0]["held_out_simulation"] - 0.03


@pytest.mark.parametrize("model", MODELS)
def test_simulation_reaches_the_student_in_the_last_stage(model: str) -> None:
    method, student = attached(model, weight=0.1)
    method.on_stage_start(1)
    method.on_stage_start(2)
    student.train()
    terms = method.loss(make_batch(), outcome(student, make_batch()))
    assert terms.keys() == {"simulation"}
    terms["simulation"].backward()
    reached = [name for name, p in student.named_parameters() if p.grad is not None]
    assert "model.item_embedding.offset" in reached
    assert len(reached) >= 5
    assert student.item_offset.grad.abs().sum() > 0


def test_by_default_the_last_stage_has_the_base_loss_alone() -> None:
    method, student = attached()
    method.on_stage_start(2)
    assert method.loss(make_batch(), outcome(student, make_batch())) == {}


def test_controls_leave_the_prompts_random_or_to_the_base_loss() -> None:
    off = {"analysis": {"weight": 0.0}, "simulation": {"weight": 0.0}}
    (_, recommending, end), _, _ = trained(**off)
    assert not changed(recommending, end) & {"method.prompts", "method.mask"}
    (_, recommending, end), _, _ = trained(**off, frozen=False)
    assert "method.prompts" in changed(recommending, end)
    assert "method.mask" not in changed(recommending, end)


def test_one_task_alone() -> None:
    (_, filling, after, _), curve, _ = trained(analysis={"weight": 0.0})
    assert changed(filling, after) == {"method.prompts"}  # nothing was hidden
    assert "analysis" not in curve[2]
    (_, filling, after, _), curve, _ = trained(simulation={"weight": 0.0})
    assert changed(filling, after) == {"method.prompts", "method.mask"}
    assert "simulation" not in curve[2]


def test_all_may_be_filled_and_the_last_stage_may_start_again() -> None:
    (_, filling, after, _), _, _ = trained(fill="all")
    assert "student.items.offset" in changed(filling, after)
    (begin, _, recommending, _), _, _ = trained(start="cold")
    assert changed(begin, recommending) == {"method.prompts", "method.mask"}


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValidationError, match="listed=20 leaves no other item"):
        DelrecReverse.Config(listed=20)


def test_a_student_that_takes_no_prompts_is_rejected_before_training() -> None:
    config = DelrecReverse.Config()
    prompts = DelrecReverse.prompt_length(config)
    (found,) = problems(StudentConfig(model="NARM"), TrainingConfig(), prompts)
    assert "student model NARM takes none" in found
