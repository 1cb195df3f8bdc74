"""Every method with steps that are recorded and replayed (`training.cuda_graphs`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from bench.data.examples import PreparedData
from bench.distillation import Batch, Knowledge, Method, Output
from bench.execution.trial import run_trial
from bench.records.record import Outcome
from bench.registry import METHODS
from bench.students.items import ItemTable
from bench.training import loop, robust

from .conftest import STUDENTS, make_trial, run
from .tape import Refused, Tape

TWICE = ("hetcomp", "rd")
"""Methods that begin every epoch otherwise; each has a recording of its own."""
SHORT = {"delrec-reverse": {"fill_epochs": 1}}
CASES = [
    *((entry.name, "SASRec", {}) for entry in METHODS if entry.name not in TWICE),
    *((method, "SASRec", {"max_epochs": 2}) for method in TWICE),
    *(("dllm2rec", model, {}) for model in STUDENTS if model != "SASRec"),
    ("dllm2rec", "BERT4Rec", {}),
    *(("delrec-reverse", model, {}) for model in STUDENTS if model != "SASRec"),
    *(("dllm2rec", "SASRec", {"objective": name}) for name in ("bpr", "bce", "dros")),
    ("dllm2rec", "SASRec", {"precision": "bf16"}),
]


@pytest.fixture
def tapes(monkeypatch: pytest.MonkeyPatch) -> list[Tape]:
    """Tapes take the place of CUDA graphs; what only a CPU may do for speed is not done."""
    tapes = []

    def tape(device: torch.device, generators: Sequence[torch.Generator]) -> Tape:
        tapes.append(Tape(generators))
        return tapes[-1]

    monkeypatch.setattr(loop, "CudaGraphs", tape)
    monkeypatch.setattr(ItemTable, "_pays_by_row", lambda *_: False)
    monkeypatch.setattr(robust._Listed, "made_with", lambda *_: False)
    return tapes


def losses(outcome: Outcome) -> list[float]:
    return [epoch["loss"] for epoch in outcome.curve]


@pytest.mark.parametrize(("method", "model", "training"), CASES)
def test_replays_train_the_same_student_bit_for_bit(
    method: str,
    model: str,
    training: dict[str, Any],
    data: PreparedData,
    knowledge: Knowledge,
    tapes: list[Tape],
) -> None:
    plain, recorded = (
        run(
            make_trial(
                method,
                model,
                settings=SHORT.get(method, {}),
                training={"max_epochs": 1, **training, "cuda_graphs": chosen},
            ),
            data,
            knowledge,
        )
        for chosen in (False, True)
    )
    # 200 rows in batches of 32: the last one is smaller, and two of an epoch come before.
    assert [tape.replays for tape in tapes] == [4 * recorded.epochs]
    assert losses(recorded) == losses(plain)
    assert all(np.array_equal(recorded.state[name], plain.state[name]) for name in plain.state)


class Waits(Method):
    def loss(self, batch: Batch, output: Output) -> dict[str, torch.Tensor]:
        return {"some": output.hidden.sum() * float(batch.target.sum())}


class Selects(Method):
    def loss(self, batch: Batch, output: Output) -> dict[str, torch.Tensor]:
        return {"some": output.hidden[batch.target > 3].sum()}


class Makes(Method):
    def loss(self, batch: Batch, output: Output) -> dict[str, torch.Tensor]:
        return {"some": (output.hidden * torch.tensor(2.0)).sum()}


class Draws(Method):
    def loss(self, batch: Batch, output: Output) -> dict[str, torch.Tensor]:
        noise = torch.rand(output.hidden.shape, generator=torch.Generator())
        return {"some": (output.hidden * noise).sum()}


@pytest.mark.parametrize(
    ("method", "operation"),
    [
        (Waits, "_local_scalar_dense"),
        (Selects, "index"),
        (Makes, "lift_fresh"),
        (Draws, "rand.generator"),
    ],
)
def test_a_step_that_cannot_be_recorded_is_noticed(
    method: type[Method], operation: str, data: PreparedData, tapes: list[Tape]
) -> None:
    trial = make_trial("none", training={"cuda_graphs": True})
    with pytest.raises(Refused, match=operation):
        run_trial(trial, data, None, method, "cpu")


class Counts(Method):
    """Its steps differ by what Python knows, which a recording does not."""

    steps = 0

    def loss(self, batch: Batch, output: Output) -> dict[str, torch.Tensor]:
        self.steps += 1
        return {"some": self.steps * output.hidden.sum()}


def test_a_step_that_python_changes_is_noticed(data: PreparedData, tapes: list[Tape]) -> None:
    trials = (make_trial("none", training={"cuda_graphs": chosen}) for chosen in (False, True))
    plain, recorded = (run_trial(trial, data, None, Counts, "cpu") for trial in trials)
    assert losses(recorded) != losses(plain)
