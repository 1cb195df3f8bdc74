"""Every method with steps that are recorded and replayed (`training.cuda_graphs`)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.data.rows import PreparedData
from bench.execution.trial import run_trial
from bench.registry import METHODS
from bench.students.items import ItemTable
from bench.training import loop, robust
from methods.base import Batch, Knowledge, Method, Output

from .conftest import STUDENTS, make_trial, run
from .tape import Refused, Tape

CASES = [
    *((entry.name, "SASRec", "ce") for entry in METHODS),
    *(("dllm2rec", model, "ce") for model in STUDENTS if model != "SASRec"),
    *(("delrec-reverse", model, "ce") for model in STUDENTS if model != "SASRec"),
    *(("dllm2rec", "SASRec", objective) for objective in ("bpr", "bce", "dros")),
]


@pytest.fixture
def tape(monkeypatch: pytest.MonkeyPatch) -> Tape:
    """Takes the place of CUDA graphs; what only a CPU may do for speed is not done."""
    tape = Tape()
    monkeypatch.setattr(loop, "CudaGraphs", lambda device, generators: tape)
    monkeypatch.setattr(ItemTable, "_pays_by_row", lambda *_: False)
    monkeypatch.setattr(robust._Listed, "made_with", lambda *_: False)
    return tape


@pytest.mark.parametrize(("method", "model", "objective"), CASES)
def test_replays_train_the_same_student_bit_for_bit(
    method: str, model: str, objective: str, data: PreparedData, knowledge: Knowledge, tape: Tape
) -> None:
    plain, recorded = (
        run(
            make_trial(method, model, training={"objective": objective, "cuda_graphs": chosen}),
            data,
            knowledge,
        )
        for chosen in (False, True)
    )
    # 200 rows in batches of 32: the last one is smaller, and two of an epoch come before.
    assert tape.replays == 4 * recorded.epochs
    assert [e["loss"] for e in recorded.curve] == [e["loss"] for e in plain.curve]
    assert all(np.array_equal(recorded.state[name], plain.state[name]) for name in plain.state)


class Waits(Method):
    def loss(self, batch: Batch, output: Output) -> dict[str, torch.Tensor]:
        return {"some": output.hidden.sum() * float(batch.target.sum())}


class Selects(Method):
    def loss(self, batch: Batch, output: Output) -> dict[str, torch.Tensor]:
        return {"some": output.hidden[batch.target > 3].sum()}


class Makes(Method):
    def loss(self, batch: Batch, output: Output) -> dict[str, torch.Tensor]:
        return {"some": (output.hidden[:, :2] * torch.tensor([1.0, 2.0])).sum()}


@pytest.mark.parametrize(
    ("method", "operation"),
    [(Waits, "_local_scalar_dense"), (Selects, "index"), (Makes, "lift_fresh")],
)
def test_a_step_that_cannot_be_recorded_is_noticed(
    method: type[Method], operation: str, data: PreparedData, tape: Tape
) -> None:
    trial = make_trial("none", training={"cuda_graphs": True})
    with pytest.raises(Refused, match=operation):
        run_trial(trial, data, None, method, "cpu", lambda line: None)


class Counts(Method):
    """Its steps differ by what Python knows, which a recording does not."""

    steps = 0

    def loss(self, batch: Batch, output: Output) -> dict[str, torch.Tensor]:
        self.steps += 1
        return {"some": self.steps * output.hidden.sum()}


def test_a_step_that_python_changes_is_noticed(data: PreparedData, tape: Tape) -> None:
    plain, recorded = (
        run_trial(
            make_trial("none", training={"cuda_graphs": chosen}),
            data,
            None,
            Counts,
            "cpu",
            lambda line: None,
        )
        for chosen in (False, True)
    )
    assert [e["loss"] for e in recorded.curve] != [e["loss"] for e in plain.curve]
