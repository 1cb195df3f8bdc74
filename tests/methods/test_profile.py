"""Profiles of users: what is regressed, from what, and for how long."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bench.distillation import Knowledge
from bench.training.output import BlockBuffers, StepOutput
from methods.profile import Profile

from .conftest import N_ROWS, TEACHER_DIM, make_batch, make_student

WIDTH = 64


def attached(knowledge: Knowledge, **settings: object) -> Profile:
    torch.manual_seed(5)
    method = Profile(Profile.Config(**settings))
    method.attach(make_student(), knowledge)
    return method


def encoded(size: int = 16) -> StepOutput:
    hidden = torch.randn(size, WIDTH, generator=torch.Generator().manual_seed(1)).requires_grad_()
    return StepOutput(hidden, torch.zeros(2, WIDTH), BlockBuffers())


@pytest.mark.parametrize("reduce", ["pca", "none"])
@pytest.mark.parametrize("size", [12, 100])
def test_components_keep_what_d_of_them_can(knowledge: Knowledge, reduce: str, size: int) -> None:
    q = torch.randn(N_ROWS, size, generator=torch.Generator().manual_seed(0))
    method = attached(dataclasses.replace(knowledge, histories=q), reduce=reduce)
    z = q.double().numpy() - q.double().numpy().mean(axis=0)
    u, s, _ = np.linalg.svd(z, full_matrices=False)
    kept = min(size, N_ROWS - 1, WIDTH if reduce == "pca" else size)
    wanted = u[:, :kept] * s[:kept] if reduce == "pca" else z
    wanted = wanted / np.sqrt((wanted**2).mean())
    np.testing.assert_allclose(
        np.abs(method.wanted.numpy()) if reduce == "pca" else method.wanted.numpy(),
        np.abs(wanted) if reduce == "pca" else wanted,
        atol=1e-4,
    )
    assert method.derived["components"] == kept


@pytest.mark.parametrize("distance", ["squared", "cosine"])
def test_the_term_equals_its_equation(knowledge: Knowledge, distance: str) -> None:
    method = attached(knowledge, distance=distance, weight=0.7)
    batch, out = make_batch(), encoded()
    said = method.map(out.hidden).detach().double().numpy()
    wanted = method.wanted[batch.row_id].double().numpy()
    if distance == "squared":
        values = ((said - wanted) ** 2).mean(axis=1)
    else:
        lengths = np.linalg.norm(said, axis=1) * np.linalg.norm(wanted, axis=1)
        values = 1 - (said * wanted).sum(axis=1) / lengths
    loss = method.loss(batch, out)["profile"]
    assert float(loss.detach()) == pytest.approx(0.7 * values.mean(), rel=1e-5)
    loss.backward()
    assert out.hidden.grad.any() and method.map.weight.grad.any()
    assert method.map.weight.shape == (TEACHER_DIM, WIDTH)


def test_filler_is_neither_taught_nor_counted(knowledge: Knowledge) -> None:
    batch = make_batch()
    covered = torch.arange(N_ROWS) % 3 > 0
    garbage = knowledge.histories.masked_fill(~covered.unsqueeze(1), 1e3)
    tables = [
        attached(dataclasses.replace(knowledge, covered=covered, histories=q))
        for q in (knowledge.histories, garbage)
    ]
    torch.testing.assert_close(*(m.wanted[covered] for m in tables), atol=1e-5, rtol=1e-4)
    losses = [m.loss(batch, encoded())["profile"].detach() for m in tables]
    torch.testing.assert_close(*losses)


def test_the_term_ends_after_the_first_stage(knowledge: Knowledge) -> None:
    method, batch, out = attached(knowledge, warm=7), make_batch(), encoded()
    first, second = method.stages()
    assert first.max_epochs == 7 and second.max_epochs is None
    method.on_stage_start(0)
    assert method.loss(batch, out).keys() == {"profile"}
    method.on_stage_start(1)
    assert method.loss(batch, out) == {}


@pytest.mark.parametrize("settings", [{"warm": 0}, {"weight": 0.0}])
def test_without_an_end_or_a_term_there_is_one_stage(
    knowledge: Knowledge, settings: dict[str, float]
) -> None:
    assert len(attached(knowledge, **settings).stages()) == 1
