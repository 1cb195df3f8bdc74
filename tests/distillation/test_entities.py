from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.distillation import Knowledge
from bench.distillation.entities import (
    ItemConfig,
    ItemVectors,
    batch_items,
    directions,
    squared_error,
    teacher_table,
)
from bench.training.output import BlockBuffers, StepOutput

from ..methods.conftest import N_ITEMS, TEACHER_DIM, batch_of


@given(
    rows=st.lists(
        st.tuples(
            st.lists(st.integers(0, 9), min_size=3, max_size=3),
            st.integers(min_value=1, max_value=9),
        ),
        min_size=1,
        max_size=5,
    ),
    at_most=st.integers(1, 25),
)
def test_every_item_of_the_batch_is_there_once(
    rows: list[tuple[list[int], int]], at_most: int
) -> None:
    batch = batch_of([h for h, _ in rows], [t for _, t in rows])
    ids, present = batch_items(batch, at_most)
    expected = {i for history, target in rows for i in [*history, target]} - {0}
    found = ids[present].tolist()
    assert len(ids) == len(present) == min(at_most, 4 * len(rows))
    assert len(set(found)) == len(found) == min(at_most, len(expected))
    assert set(found) <= expected
    assert not ids[~present].any()


def test_surplus_items_are_drawn_uniformly_and_from_the_batch_generator() -> None:
    # Item 1 stands in the batch many times and has no better chance than the others.
    batch = batch_of([[1, 1, 2], [1, 1, 3], [1, 4, 0]], [1, 5, 1])
    torch.manual_seed(0)
    before = torch.get_rng_state()
    counts = torch.zeros(6)
    for _ in range(4000):
        ids, present = batch_items(batch, 2)
        assert present.all()
        counts[ids] += 1
    assert torch.equal(before, torch.get_rng_state())
    assert counts[0] == 0
    torch.testing.assert_close(counts[1:] / 4000, torch.full((5,), 0.4), atol=0.04, rtol=0)
    same = [batch_items(batch_of([[1, 2, 3]], [4], seed=3), 2)[0] for _ in range(2)]
    assert torch.equal(*same)


def test_vectors_of_absent_items_are_zero_and_carry_no_gradient(knowledge: Knowledge) -> None:
    batch = batch_of([[7, 7, 0], [9, 0, 0]], [7, 2])
    table = torch.randn(N_ITEMS + 1, 4).requires_grad_()
    output = StepOutput(torch.zeros(2, 4), table, BlockBuffers())
    items = ItemVectors(knowledge.embeddings, ItemConfig())
    student, teacher, present = items.take(batch, output)
    assert present.sum() == 3
    assert not student[~present].any()
    assert not teacher[~present].any()
    ((student - 1) ** 2).sum().backward()
    touched = table.grad.abs().sum(dim=1).nonzero().flatten().tolist()
    assert touched == [2, 7, 9]
    order = student[present].detach().unsqueeze(1).eq(table.detach()).all(dim=2).nonzero()[:, 1]
    torch.testing.assert_close(teacher[present], items.teacher[order])


@pytest.mark.parametrize("normalise", ["standardise", "l2"])
def test_teacher_entries_have_mean_square_one(knowledge: Knowledge, normalise: str) -> None:
    table = teacher_table(knowledge.embeddings * 30, normalise, None)
    assert table[1:].square().mean().item() == pytest.approx(1.0, rel=1e-5)
    assert not table[0].any()
    assert torch.equal(teacher_table(knowledge.embeddings, "none", None), knowledge.embeddings)


def test_principal_components_keep_the_geometry_of_the_whole() -> None:
    wide = torch.zeros(N_ITEMS + 1, TEACHER_DIM)
    generator = torch.Generator().manual_seed(1)
    low = torch.randn(N_ITEMS, 2, generator=generator) * torch.tensor([5.0, 1.0])
    wide[1:] = low @ torch.randn(2, TEACHER_DIM, generator=generator)
    whole, parts = teacher_table(wide, "standardise", None), teacher_table(wide, "standardise", 2)
    assert parts.shape == (N_ITEMS + 1, 2)
    cosines = [directions(t[1:]) @ directions(t[1:]).T for t in (whole, parts)]
    torch.testing.assert_close(*cosines, atol=1e-4, rtol=0)
    # A teacher that is narrow already is not touched.
    assert torch.equal(teacher_table(wide, "standardise", TEACHER_DIM), whole)


def test_squared_error_is_a_mean_over_present_items_and_dimensions() -> None:
    predicted = torch.tensor([[1.0, 2.0], [0.0, 0.0], [9.0, 9.0]])
    present = torch.tensor([True, True, False])
    error = squared_error(predicted, torch.zeros(3, 2), present)
    assert error.item() == pytest.approx((1 + 4 + 0 + 0) / 4)
    assert squared_error(predicted, torch.zeros(3, 2), present & False).item() == 0


def test_a_vector_of_no_length_has_no_direction_and_a_bounded_gradient() -> None:
    vectors = torch.tensor([[0.0, 0.0], [1e-30, 0.0], [3.0, 4.0]]).requires_grad_()
    found = directions(vectors)
    torch.testing.assert_close(found[2], torch.tensor([0.6, 0.8]))
    assert not found[0].any()
    (found @ torch.tensor([1.0, 2.0])).sum().backward()
    assert torch.isfinite(vectors.grad).all()
    assert vectors.grad.abs().max() < 1e5
