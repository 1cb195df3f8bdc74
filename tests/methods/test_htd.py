"""Hierarchical topology distillation against loops over pairs, groups and items."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bench.distillation import Batch, Knowledge
from bench.training.output import BlockBuffers, StepOutput
from methods.de import DistillationExperts
from methods.htd import HierarchicalTopology

from .conftest import N_ITEMS, make_batch, make_student

WIDTH = make_student().width


def attached(knowledge: Knowledge, **settings: object) -> HierarchicalTopology:
    torch.manual_seed(5)
    method = HierarchicalTopology(HierarchicalTopology.Config(**settings))
    method.attach(make_student(), knowledge)
    return method


def a_table(width: int = WIDTH) -> Tensor:
    return torch.randn(N_ITEMS + 1, width, generator=torch.Generator().manual_seed(3))


def terms(
    method: HierarchicalTopology, table: Tensor, batch: Batch | None = None
) -> dict[str, Tensor]:
    batch = batch or make_batch()
    output = StepOutput(torch.zeros(len(batch.target), table.shape[1]), table, BlockBuffers())
    return method.loss(batch, output)


def items_of(batch: Batch) -> list[int]:
    return sorted({*batch.history.flatten().tolist(), *batch.target.tolist()} - {0})


def cosine(left: list[float], right: list[float]) -> float:
    lengths = math.hypot(*left) * math.hypot(*right)
    return sum(a * b for a, b in zip(left, right, strict=True)) / lengths if lengths else 0.0


class Loops:
    """Both levels as the paper writes them, in plain Python."""

    def __init__(self, method: HierarchicalTopology, table: Tensor, items: list[int]) -> None:
        scores = method.experts.selector(method.items.teacher)
        self.group = {i: int(scores[i].argmax()) for i in items}
        self.items = items
        self.student, self.teacher = table.tolist(), method.items.teacher.tolist()

    def entity(self, pairs: str) -> float:
        errors = []
        for i in self.items:
            for j in self.items:
                wanted = cosine(self.teacher[i], self.teacher[j])
                if (
                    i == j
                    or self.group[i] != self.group[j]
                    or (pairs == "positive" and wanted <= 0)
                ):
                    continue
                errors.append((cosine(self.student[i], self.student[j]) - wanted) ** 2)
        return sum(errors) / max(1, len(errors))

    def means(self, space: list[list[float]]) -> dict[int, list[float]]:
        found = {}
        for g in sorted(set(self.group.values())):
            members = [space[i] for i in self.items if self.group[i] == g]
            found[g] = [sum(axis) / len(members) for axis in zip(*members, strict=True)]
        return found

    def groups(self, against: str, exclude_own: bool) -> float:
        p, q = self.means(self.student), self.means(self.teacher)
        errors = []
        for g in p:
            if against == "prototypes":
                others = [(cosine(p[g], p[o]), cosine(q[g], q[o])) for o in p if o != g]
            else:
                others = [
                    (cosine(p[g], self.student[i]), cosine(q[g], self.teacher[i]))
                    for i in self.items
                    if not (exclude_own and self.group[i] == g)
                ]
            errors += [(own - theirs) ** 2 for own, theirs in others]
        return sum(errors) / max(1, len(errors))


@pytest.mark.parametrize("pairs", ["positive", "all"])
@pytest.mark.parametrize(
    ("group", "exclude"), [("items", False), ("items", True), ("prototypes", False)]
)
@pytest.mark.parametrize("count", [1, 4, 30])
def test_topology_is_that_of_the_loops(
    knowledge: Knowledge, pairs: str, group: str, exclude: bool, count: int
) -> None:
    method = attached(
        knowledge,
        weight=0.6,
        alpha=0.7,
        groups=count,
        pairs=pairs,
        group=group,
        exclude_own_group=exclude,
    )
    table, batch = a_table(), make_batch()
    loops = Loops(method, table, items_of(batch))
    expected = 0.6 * 0.7 * (loops.entity(pairs) + loops.groups(group, exclude))
    assert terms(method, table, batch)["topology"].item() == pytest.approx(expected, rel=1e-4)


def test_groups_differ_and_some_are_empty_in_the_tests_above(knowledge: Knowledge) -> None:
    found = {
        count: len(
            set(
                Loops(
                    attached(knowledge, groups=count), a_table(), items_of(make_batch())
                ).group.values()
            )
        )
        for count in (4, 30)
    }
    assert 1 < found[4] <= 4
    assert 4 < found[30] < 30


def test_assignment_is_the_loss_of_distillation_experts(knowledge: Knowledge) -> None:
    method = attached(knowledge, weight=0.6, alpha=0.7, groups=5)
    torch.manual_seed(5)
    de = DistillationExperts(DistillationExperts.Config(weight=1.0, experts=5))
    de.attach(make_student(), knowledge)
    table = a_table()
    expected = 0.6 * (1 - 0.7) * terms(de, table)["experts"]
    torch.testing.assert_close(terms(method, table)["assignment"], expected)


@pytest.mark.parametrize("group", ["items", "prototypes"])
def test_identical_spaces_leave_no_topology(knowledge: Knowledge, group: str) -> None:
    method = attached(knowledge, weight=1.0, groups=4, group=group)
    method.experts = HierarchicalTopologyExperts(method)
    own = method.items.teacher
    assert terms(method, own)["topology"].item() == pytest.approx(0, abs=1e-9)
    assert terms(method, own.roll(1, dims=0))["topology"].item() > 1e-2


class HierarchicalTopologyExperts(torch.nn.Module):
    """The groups of a method without its experts, which want the student's own width."""

    def __init__(self, method: HierarchicalTopology) -> None:
        super().__init__()
        self.groups = method.experts.groups

    def forward(self, student: Tensor, teacher: Tensor, *_: object) -> Tensor:
        return teacher


@pytest.mark.parametrize("group", ["items", "prototypes"])
def test_rotating_and_stretching_the_student_leaves_the_topology(
    knowledge: Knowledge, group: str
) -> None:
    method, table = attached(knowledge, groups=4, group=group), a_table()
    rotation, _ = torch.linalg.qr(torch.randn(WIDTH, WIDTH))
    turned = terms(method, 2.5 * table @ rotation)["topology"]
    torch.testing.assert_close(terms(method, table)["topology"], turned)


def test_with_one_group_the_entity_level_is_ftd_on_similar_pairs(knowledge: Knowledge) -> None:
    method, table, batch = attached(knowledge, groups=1), a_table(), make_batch()
    items = items_of(batch)
    student, teacher = table[items], method.items.teacher[items]
    value = method.entity_level(student, teacher, torch.ones(len(items), 1))
    errors = [
        (cosine(s, other_s) - wanted) ** 2
        for i, (s, t) in enumerate(zip(student.tolist(), teacher.tolist(), strict=True))
        for j, (other_s, other_t) in enumerate(zip(student.tolist(), teacher.tolist(), strict=True))
        if i != j and (wanted := cosine(t, other_t)) > 0
    ]
    assert value.item() == pytest.approx(sum(errors) / len(errors), rel=1e-4)


def test_prototypes_carry_a_gradient_only_where_they_meet_prototypes(knowledge: Knowledge) -> None:
    # One member a group: with items of other groups only, a vector gets a gradient as an item
    # and none as its group's mean; compared with prototypes it gets both.
    student = torch.randn(3, 4, dtype=torch.float64).requires_grad_()
    teacher = torch.randn(3, 5, dtype=torch.float64)
    groups = torch.eye(3, dtype=torch.float64)
    items = attached(knowledge, exclude_own_group=True)
    prototypes = attached(knowledge, group="prototypes")
    gradients = [
        torch.autograd.grad(m.group_level(student, teacher, groups), student)[0]
        for m in (items, prototypes)
    ]
    # The same value and, the comparison being symmetric, exactly half of the gradient.
    torch.testing.assert_close(2 * gradients[0], gradients[1])
    assert gradients[0].abs().sum() > 0


def test_gradients_are_those_of_finite_differences(knowledge: Knowledge) -> None:
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(6, 3, generator=generator, dtype=torch.float64).requires_grad_()
    teacher = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    groups = torch.nn.functional.one_hot(torch.tensor([0, 0, 1, 1, 1, 3]), 4).double()
    method = attached(knowledge, group="prototypes")
    for level in (method.entity_level, method.group_level):
        # Bound as a default: the check calls it before the next round.
        assert torch.autograd.gradcheck(lambda s, f=level: f(s, teacher, groups), student)


def test_gradients_reach_items_and_experts_but_not_the_teacher(knowledge: Knowledge) -> None:
    method, table, batch = attached(knowledge), a_table().requires_grad_(), make_batch()
    found = terms(method, table, batch)
    (topology,) = torch.autograd.grad(found["topology"], table, retain_graph=True)
    assert topology[items_of(batch)].abs().sum(dim=1).min() > 0
    assert not topology[0].any()
    found["assignment"].backward()
    assert all(p.grad.abs().sum() > 0 for p in method.parameters())
    assert not method.items.teacher.requires_grad


@pytest.mark.parametrize("group", ["items", "prototypes"])
def test_vectors_of_no_length_are_harmless(knowledge: Knowledge, group: str) -> None:
    for exclude in (False, True):
        method = attached(knowledge, groups=1, group=group, exclude_own_group=exclude)
        method.on_epoch_start(10, 10)
        table = torch.zeros(N_ITEMS + 1, WIDTH).requires_grad_()
        found = terms(method, table)
        sum(found.values()).backward()
        assert all(torch.isfinite(value) for value in found.values())
        assert torch.isfinite(table.grad).all()


def test_the_temperature_falls_and_is_told(knowledge: Knowledge) -> None:
    method = attached(knowledge)
    told = [method.on_epoch_start(epoch, 10)["temperature"] for epoch in (1, 2, 10)]
    assert told == pytest.approx([1.0, 0.1, 1e-3])
    assert method.temperature == told[-1]
