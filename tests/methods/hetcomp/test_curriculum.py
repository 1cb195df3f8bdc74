"""Discrepancy and states against loops over pairs, users and ranks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.distillation import Knowledge
from methods.hetcomp.curriculum import Curriculum, CurriculumConfig, States
from methods.hetcomp.discrepancy import discrepancy, gains, mean_by_group, some_rows
from methods.hetcomp.trajectories import Trajectories

from ..conftest import N_ROWS, make_student
from ..heterogeneous import STATES, TEACHERS, allowed, excluded, toy_knowledge

FORMS = ("official", "teacher-rank")
DEPTH = 8


def loop_discrepancy(student: list[int], teacher: list[int], form: str) -> float:
    found = ideal = 0.0
    for t, item in enumerate(student):
        if item in teacher:
            rank = t if form == "official" else teacher.index(item)
            found += (2 ** math.exp(-rank / 10) - 1) / math.log2(t + 2)
    for t in range(min(len(student), len(teacher))):
        ideal += (2 ** math.exp(-t / 10) - 1) / math.log2(t + 2)
    return 1 - found / ideal if ideal else 1.0


def of_lists(student: list[int], teacher: list[int], form: str) -> float:
    padded = [torch.tensor([ids + [0] * (DEPTH - len(ids))]) for ids in (student, teacher)]
    return float(discrepancy(*padded, gains(DEPTH, form)))


LIST = st.lists(st.integers(1, 14), max_size=DEPTH, unique=True)


@pytest.mark.parametrize("form", FORMS)
@given(student=LIST, teacher=LIST)
def test_discrepancy_equals_a_loop_over_ranks(
    form: str, student: list[int], teacher: list[int]
) -> None:
    found = of_lists(student, teacher, form)
    assert found == pytest.approx(loop_discrepancy(student, teacher, form), abs=1e-5)
    assert -1e-5 <= found <= 1 + 1e-5


@pytest.mark.parametrize("form", FORMS)
def test_discrepancy_of_equal_and_of_disjoint_lists(form: str) -> None:
    ids = [5, 2, 9, 1, 7, 3, 8, 4]
    assert of_lists(ids, ids, form) == pytest.approx(0, abs=1e-6)
    assert of_lists(ids, [i + 10 for i in ids], form) == 1.0


def test_only_one_form_asks_for_the_teachers_order() -> None:
    ids = [5, 2, 9, 1, 7, 3, 8, 4]
    assert of_lists(ids, ids[::-1], "official") == pytest.approx(0, abs=1e-6)
    assert of_lists(ids, ids[::-1], "teacher-rank") > 0.01


def replay(looks: list[np.ndarray], alpha: float) -> list[list[int]]:
    """States of a single pair after each look, from its discrepancies by look and state."""
    state, last, history = 0, 0.0, []
    for number, table in enumerate(looks, start=1):
        if number == 1:
            last = table[1]
        elif state < STATES - 1:
            ratio = last / table[state + 1]
            if ratio > alpha * 0.995**number or ratio < 1:
                last = table[min(STATES - 1, state + 2)]
                state += 1
        history.append(state)
    return history


def lookup(table: np.ndarray) -> Callable[[torch.Tensor], torch.Tensor]:
    """Discrepancies [M, G] at states [M, G] from a table [C, M, G]."""
    return lambda states: torch.from_numpy(table).gather(0, states.unsqueeze(0))[0]


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.02, 0.3]))
def test_states_equal_a_simulation_of_every_pair(seed: int, spread: float) -> None:
    random = np.random.default_rng(seed)
    config = CurriculumConfig()
    # Discrepancies that shrink, stand still or jump, in four digits.
    looks = [
        np.maximum(0.9 - 0.01 * k * random.random() + spread * random.random((STATES, 3, 5)), 1e-4)
        for k in range(14)
    ]
    looks = [look.round(4) for look in looks]
    states = States(torch.zeros(3, 5).long(), STATES - 1)
    seen = [states.now]
    for number, table in enumerate(looks, start=1):
        states.look(lookup(table), config.alpha * config.decay**number)
        seen.append(states.now)
    found = torch.stack(seen[1:]).numpy()
    for m in range(3):
        for g in range(5):
            assert found[:, m, g].tolist() == replay([t[:, m, g] for t in looks], config.alpha)
    assert (np.diff(torch.stack(seen).numpy(), axis=0) >= 0).all()
    assert found.max() <= STATES - 1
    assert states.finished  # at the latest at look 12


def test_thresholds_are_those_of_the_program() -> None:
    curriculum = attached(toy_knowledge())[0]
    found = [curriculum.threshold(look) for look in (0, 1, 9, 10)]
    assert found == pytest.approx([1.05, 1.04475, 1.00368, 0.99867], abs=5e-6)


def test_a_constant_discrepancy_waits_until_the_threshold_falls_below_one() -> None:
    curriculum = attached(toy_knowledge())[0]
    states = States(torch.zeros(2, 3).long(), STATES - 1)
    means = []
    for look in range(1, 13):
        states.look(lambda at: torch.full(at.shape, 0.7), curriculum.threshold(look))
        means.append(float(states.now.double().mean()))
    assert means == [0.0] * 9 + [1.0, 2.0, 3.0]


def attached(
    knowledge: Knowledge, model: str = "SASRec", **settings: object
) -> tuple[Curriculum, torch.nn.Module]:
    student = make_student(model=model).train()
    torch.manual_seed(3)
    config = CurriculumConfig(depth=DEPTH, **settings)
    teachers = Trajectories(knowledge, None, exclude_history=True)
    return Curriculum(config, student, teachers), student


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("granularity", ["user", "row", "global"])
def test_discrepancies_of_a_student_equal_a_loop_over_rows(granularity: str, form: str) -> None:
    knowledge = toy_knowledge()
    curriculum, student = attached(knowledge, granularity=granularity, discrepancy=form)
    states = torch.randint(STATES, curriculum.states.now.shape, generator=torch.Generator())
    found = curriculum.probe.discrepancies()(states)
    assert student.training
    student.eval()
    rows, groups = knowledge.rows, curriculum.group.tolist()
    with torch.no_grad():
        scores = student.logits(student.encode(rows.history, rows.length, rows.user)).numpy()
    sums: dict[tuple[int, int], list[float]] = {}
    for row in curriculum.probe.rows.tolist():
        order = (int(i) for i in np.argsort(-scores[row]))
        own = [i for i in order if i not in excluded(knowledge, row)][:DEPTH]
        for m in range(len(TEACHERS)):
            state = int(states[m, groups[row]])
            teacher = allowed(knowledge, m, state, row)[:DEPTH]
            value = loop_discrepancy(own, teacher, form)
            sums.setdefault((m, groups[row]), []).append(value)
    assert len(sums) == states.numel()
    for (m, g), values in sums.items():
        assert float(found[m, g]) == pytest.approx(max(np.mean(values), 1e-4), abs=6e-5)


@pytest.mark.parametrize(("granularity", "groups"), [("row", N_ROWS), ("global", 1), ("user", 9)])
def test_who_has_a_state_of_its_own(granularity: str, groups: int) -> None:
    knowledge = toy_knowledge()
    curriculum = attached(knowledge, granularity=granularity)[0]
    users = knowledge.rows.user
    assert len(users.unique()) == 9
    assert curriculum.states.now.shape == (len(TEACHERS), groups)
    curriculum.states.now = torch.arange(3 * groups).view(3, groups)
    expected = {"row": torch.arange(N_ROWS), "global": torch.zeros(N_ROWS).long()}
    expected["user"] = torch.searchsorted(users.unique(), users)
    assert torch.equal(curriculum.of_rows(torch.arange(N_ROWS))[0], expected[granularity])


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=40))
def test_a_sample_holds_a_few_covered_rows_of_every_user(table: list[tuple[int, bool]]) -> None:
    unit = torch.tensor([u for u, _ in table])
    covered = torch.tensor([c for _, c in table])
    rows = some_rows(unit, covered, 3).tolist()
    assert rows == sorted(set(rows))
    for u in range(5):
        mine = {r for r, entry in enumerate(table) if entry == (u, True)}
        assert len(mine & set(rows)) == min(3, len(mine))
    assert covered[rows].all()


def test_a_sample_is_drawn_at_random() -> None:
    unit, covered = torch.zeros(30).long(), torch.ones(30, dtype=torch.bool)
    assert len({tuple(some_rows(unit, covered, 5).tolist()) for _ in range(20)}) > 10


def test_means_by_group() -> None:
    found = mean_by_group(torch.tensor([1.0, 2.0, 6.0]), torch.tensor([2, 0, 2]), 4)
    assert found.tolist() == [2.0, 0.0, 3.5, 0.0]


def test_a_user_of_whom_no_teacher_speaks_holds_nothing_up() -> None:
    knowledge = toy_knowledge()
    silent = knowledge.rows.user == knowledge.rows.user[0]
    curriculum = attached(dataclasses.replace(knowledge, covered=~silent))[0]
    for epoch in range(1, 14):
        curriculum.advance(epoch)
    assert curriculum.states.finished


def test_looks_come_every_period_and_name_the_rows_that_moved() -> None:
    knowledge = toy_knowledge()
    curriculum, student = attached(knowledge, period=3)
    for epoch in range(1, 40):
        with torch.no_grad():
            student.item_offset[1:].normal_(std=0.5)  # a student that jumps about
        before = curriculum.states.now
        moved = curriculum.advance(epoch)
        changed = (curriculum.states.now != before).any(dim=0)
        assert torch.equal(moved, torch.nonzero(changed[curriculum.group]).flatten())
        if epoch <= 4 or epoch % 3 != 1:
            assert len(moved) == 0
    assert curriculum.states.finished
    assert curriculum.summary() == {f"state_{name}": 3.0 for name in TEACHERS}


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "Caser"])
def test_a_look_draws_no_random_number_and_leaves_the_student_in_training(model: str) -> None:
    curriculum, student = attached(toy_knowledge(), model)
    parameters = [p.detach().clone() for p in student.parameters()]
    state = torch.get_rng_state()
    for epoch in range(1, 5):
        curriculum.advance(epoch)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in student.modules())
    assert all(map(torch.equal, parameters, student.parameters()))


def test_a_look_encodes_training_rows_only() -> None:
    knowledge = toy_knowledge()
    curriculum, student = attached(knowledge)
    seen, encode = [], student.encode
    student.encode = lambda *row: seen.append(torch.column_stack(row)) or encode(*row)
    curriculum.advance(2)
    rows = knowledge.rows
    known = torch.column_stack([rows.history, rows.length, rows.user])[curriculum.probe.rows]
    assert torch.equal(torch.cat(seen), known)


def test_the_curriculum_can_be_ended_or_left_out() -> None:
    curriculum = attached(toy_knowledge(), finish_epoch=4)[0]
    for epoch in range(1, 4):
        curriculum.advance(epoch)
    assert not curriculum.states.finished
    waiting = (curriculum.states.now < 3).any(dim=0)[curriculum.group]
    assert torch.equal(curriculum.advance(4), waiting.nonzero().flatten())
    assert curriculum.states.finished
    assert attached(toy_knowledge(), dynamic=False)[0].states.finished


def test_a_teacher_without_a_course_of_training_is_converged_from_the_start() -> None:
    knowledge = toy_knowledge()
    lists = knowledge.trajectories.clone()
    lists[1] = lists[1, -1]
    curriculum = attached(dataclasses.replace(knowledge, trajectories=lists))[0]
    assert curriculum.summary() == {"state_first": 0.0, "state_second": 3.0, "state_third": 0.0}
