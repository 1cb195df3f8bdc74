"""Alignment of items: which items, which networks, which terms."""

from __future__ import annotations

import pytest
import torch

from bench.distillation import Batch, Knowledge
from bench.distillation.alignment import contrast, cosine_distance, redundancy
from bench.distillation.entities import teacher_table
from bench.training.output import BlockBuffers, StepOutput
from methods.align import Align

from .conftest import N_ITEMS, TEACHER_DIM, batch_of, make_batch, make_student

WIDTH = 64


def attached(knowledge: Knowledge, **settings: object) -> Align:
    torch.manual_seed(5)
    method = Align(Align.Config(**settings))
    method.attach(make_student(), knowledge)
    return method


def wide_output(size: int = 16) -> StepOutput:
    generator = torch.Generator().manual_seed(1)
    table = torch.randn(N_ITEMS + 1, WIDTH, generator=generator)
    table[0] = 0
    hidden = torch.randn(size, WIDTH, generator=generator)
    return StepOutput(hidden, table.requires_grad_(), BlockBuffers())


def items_of(batch: Batch, scope: str) -> list[int]:
    """The different items of a batch in ascending order."""
    targets = set(batch.target.tolist())
    histories = set(batch.history.flatten().tolist()) - {0}
    return sorted(targets | histories if scope == "history" else targets)


@pytest.mark.parametrize("scope", ["history", "target"])
@pytest.mark.parametrize("form", ["con", "gen", "cosine", "redundancy", "both"])
def test_the_term_is_over_the_different_items_of_a_batch(
    knowledge: Knowledge, form: str, scope: str
) -> None:
    method = attached(knowledge, form=form, scope=scope, weight=0.7, temperature=0.3)
    batch, out = make_batch(), wide_output()
    items = items_of(batch, scope)
    x = out.table[items]
    z = teacher_table(knowledge.embeddings, "standardise", None)[items]
    there = torch.ones(len(items), dtype=torch.bool)
    if form == "gen":
        wanted = contrast(method.network(x), z, there, 0.3)
    else:
        f = method.network(z)
        counts = knowledge.target_counts
        popular = (counts > counts[1:].median())[items]
        parts = {
            "con": contrast(x, f, there, 0.3),
            "cosine": cosine_distance(x, f, there),
            "redundancy": redundancy(x[popular], f[popular], there[popular], 0.005)
            + redundancy(x[~popular], f[~popular], there[~popular], 0.005),
        }
        wanted = parts["con"] + parts["redundancy"] if form == "both" else parts[form]
    torch.testing.assert_close(method.loss(batch, out)["align"], 0.7 * wanted)
    method.loss(batch, out)["align"].backward()
    assert out.table.grad[items].abs().sum() > 0
    others = [i for i in range(len(out.table)) if i not in items]
    assert not out.table.grad[others].any()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())


def test_an_item_counts_once_however_often_it_occurs(knowledge: Knowledge) -> None:
    method, out = attached(knowledge), wide_output(3)
    once = method.loss(batch_of([[1, 2], [3, 0], [1, 0]], [4, 5, 2]), out)["align"]
    often = method.loss(batch_of([[2, 1], [1, 3], [3, 3]], [4, 5, 4]), out)["align"]
    torch.testing.assert_close(once, often)


@pytest.mark.parametrize("form", ["con", "redundancy"])
def test_one_item_divides_by_nothing(knowledge: Knowledge, form: str) -> None:
    out = wide_output(1)
    loss = attached(knowledge, form=form).loss(batch_of([[4]], [4]), out)["align"]
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(out.table.grad).all()


@pytest.mark.parametrize(("form", "sizes"), [("con", (12, 38, 64)), ("gen", (64, 38, 12))])
def test_the_network_goes_where_the_form_compares(
    knowledge: Knowledge, form: str, sizes: tuple[int, int, int]
) -> None:
    first, _, last = attached(knowledge, form=form).network
    assert (first.in_features, first.out_features, last.out_features) == sizes
    assert TEACHER_DIM in sizes


def test_the_weight_swings(knowledge: Knowledge) -> None:
    method = attached(knowledge, cycle=4, low=0.2)
    shares = [method.on_epoch_start(epoch, 100)["share"] for epoch in range(1, 6)]
    assert shares == pytest.approx([1, 0.6, 0.2, 0.6, 1])
    out, batch = wide_output(), make_batch()
    whole = method.loss(batch, out)["align"]
    method.on_epoch_start(3, 100)
    torch.testing.assert_close(method.loss(batch, out)["align"], 0.2 * whole)
    assert attached(knowledge).on_epoch_start(3, 100) == {}
