"""What every registered method must do on every student; a new method is tested for free."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import BaseModel

from bench.data.examples import PreparedData
from bench.distillation import Batch, Knowledge
from bench.paths import SHIPPED
from bench.registry import METHODS, MethodEntry
from bench.training.objectives import OBJECTIVES
from bench.training.output import BlockBuffers, StepOutput
from bench.training.rows import DeviceRows

from .conftest import N_ITEMS, STUDENTS, build, make_trial, pairs, run

ALL = [entry.name for entry in METHODS]
TAUGHT = [entry.name for entry in METHODS if entry.needs]
# A method that is another model, not one with terms added, cannot be switched off.
UNWEIGHTED = {"none", "learn", "whiten", "gated-ids"}
NEUTRAL: dict[str, dict[str, Any]] = {
    "init": {"components": 0},
    "alphafuse": {"form": "clip", "null_fraction": 1.0, "start": "student"},
    "llm-esr": {"weight": 0, "view": "none", "start": "random"},
    "sra-cl": {"between": 0, "inside": 0},
}
"""Settings of methods that are switched off by something else than a weight."""
OF_EVERY_STUDENT = ["ce", "bpr", "bce", "dros"]


def weightless(config: type[BaseModel]) -> dict[str, Any]:
    """Settings that switch a method off, nested ones included: weights and prompts of 0."""
    settings: dict[str, Any] = {}
    for name, field in config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            settings[name] = weightless(field.annotation)
        elif name in ("weight", "prompts"):
            settings[name] = 0
    return settings


def switched_off(method: str) -> dict[str, Any]:
    return NEUTRAL.get(method) or weightless(METHODS.load(method).Config)


def same(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> bool:
    return left.keys() == right.keys() and all(np.array_equal(left[k], right[k]) for k in left)


@pytest.mark.parametrize("method", ALL)
def test_a_method_can_be_switched_off(method: str) -> None:
    assert bool(switched_off(method)) == (method not in UNWEIGHTED)


@pytest.mark.parametrize("model", [*STUDENTS, "BERT4Rec"])
@pytest.mark.parametrize("method", sorted(set(ALL) - UNWEIGHTED))
def test_weights_of_zero_are_none_bit_for_bit(
    method: str, model: str, data: PreparedData, knowledge: Knowledge
) -> None:
    base = run(make_trial("none", model), data, None)
    zero = run(make_trial(method, model, settings=switched_off(method)), data, knowledge)
    assert same(base.state, zero.state)
    assert np.array_equal(base.ranks, zero.ranks)


@pytest.mark.parametrize("objective", OF_EVERY_STUDENT)
@pytest.mark.parametrize("method", TAUGHT)
def test_a_weight_above_zero_changes_the_student(
    method: str, objective: str, data: PreparedData, knowledge: Knowledge
) -> None:
    training = {"objective": objective}
    base = run(make_trial("none", training=training), data, None)
    taught = run(make_trial(method, training=training), data, knowledge)
    assert not same(base.state, taught.state)


@pytest.mark.parametrize(("method", "model"), pairs([*STUDENTS, "BERT4Rec"]))
def test_a_trial_repeats_exactly(
    method: str, model: str, data: PreparedData, knowledge: Knowledge
) -> None:
    first = run(make_trial(method, model), data, knowledge)
    torch.manual_seed(999)
    torch.rand(7)
    second = run(make_trial(method, model), data, knowledge)
    assert same(first.state, second.state)
    assert first.metrics == second.metrics
    other = run(make_trial(method, model, seed=1), data, knowledge)
    assert not same(first.state, other.state)


@pytest.mark.parametrize(("method", "model"), pairs([*STUDENTS, "BERT4Rec"]))
def test_the_distilled_student_is_a_plain_one(
    method: str, model: str, data: PreparedData, knowledge: Knowledge
) -> None:
    base = run(make_trial("none", model), data, None)
    taught = run(make_trial(method, model), data, knowledge)
    shapes = [{k: v.shape for k, v in o.state.items()} for o in (base, taught)]
    # Beyond RecBole's own tensors there is at most an untied head, or prompts.
    beyond = {k: shapes[1].pop(k) for k in ("head", "prompts") if k in shapes[1]}
    if method == "delrec-reverse" and model == "Caser":
        # It has kernels of every height, up to that of its image with the prompts.
        assert shapes[0].keys() < shapes[1].keys()
    else:
        assert shapes[0] == shapes[1]
        grown = taught.parameters["inference"] - base.parameters["inference"]
        assert grown == sum(math.prod(shape) for shape in beyond.values())
    assert not taught.state["item_embedding.weight"][0].any()  # padding stays zero
    assert all(np.isfinite(tensor).all() for tensor in taught.state.values())


@pytest.mark.parametrize("objective", OF_EVERY_STUDENT)
@pytest.mark.parametrize("method", ALL)
def test_losses_are_finite_at_extreme_scores_with_ties(
    method: str, objective: str, data: PreparedData, knowledge: Knowledge
) -> None:
    rows = DeviceRows.of(data.train, torch.device("cpu"))
    made, student = build(make_trial(method, training={"objective": objective}), knowledge, rows)
    chosen = slice(0, 16)
    history = torch.from_numpy(data.train.history[chosen].astype(np.int64))
    target = torch.from_numpy(data.train.target[chosen].astype(np.int64))
    batch = Batch(
        row_id=torch.arange(16),
        history=history,
        length=(history > 0).sum(dim=1),
        target=target,
        user=torch.arange(16),
        negative=target % N_ITEMS + 1 if OBJECTIVES[objective].samples_negatives else None,
        generator=torch.Generator(),
    )
    table = torch.zeros(N_ITEMS + 1, student.width)
    table[1::2, 0], table[2::2, 0] = 50.0, -50.0  # two scores, each held by half of the items
    hidden = torch.zeros(16, student.width)
    hidden[:, 0] = 1.0
    hidden.requires_grad_()
    for stage in range(len(made.stages())):
        made.on_stage_start(stage)
        made.on_epoch_start(1, 5)
        student.begin_step()
        terms = made.loss(batch, StepOutput(hidden, table, BlockBuffers()))
        total = sum(terms.values(), torch.zeros(()))
        assert torch.isfinite(total)
        if total.requires_grad:
            total.backward()
    for parameter in (hidden, *made.parameters(), *student.parameters()):
        assert parameter.grad is None or torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("method", TAUGHT)
def test_the_teacher_is_only_read(method: str, data: PreparedData, knowledge: Knowledge) -> None:
    signals = {k: v for k, v in vars(knowledge).items() if isinstance(v, torch.Tensor)}
    before = {k: v.clone() for k, v in signals.items()}
    run(make_trial(method), data, knowledge)
    assert all(torch.equal(v, getattr(knowledge, k)) for k, v in before.items())


@pytest.mark.parametrize("path", sorted((SHIPPED / "methods").rglob("*.py")), ids=lambda p: p.stem)
def test_a_method_stands_on_torch_pydantic_and_the_interface(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    allowed = (
        *("torch", "pydantic", "bench.distillation", "bench.registry"),
        *("typing", "collections", "dataclasses", "math", "__future__"),
    )
    for node in ast.walk(ast.parse(source)):
        imported = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
        assert all(name.startswith(allowed) for name in imported), imported
    assert not any(word in source for word in ("cuda", "open(", "torch.optim", "import recbole"))


@pytest.mark.parametrize("entry", list(METHODS), ids=lambda entry: entry.name)
def test_a_method_is_read_in_one_go(entry: MethodEntry) -> None:
    assert len(entry.path.read_text(encoding="utf-8").splitlines()) <= 140
    assert entry.summary.endswith(".")
