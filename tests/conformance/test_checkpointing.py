"""Every method with a student that is encoded part by part (`training.checkpointing`)."""

from __future__ import annotations

import numpy as np
import pytest

from bench.data.examples import PreparedData
from bench.distillation import Knowledge
from bench.registry import METHODS
from bench.students import checkpointing

from .conftest import STUDENTS, make_trial, run

STILL = {
    "SASRec": {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0},
    "GRU4Rec": {"dropout_prob": 0.0},
    "Caser": {"dropout_prob": 0.0},
}
"""Settings without dropout, whose draws depend on how a batch is cut."""


CASES = [
    *((entry.name, "SASRec") for entry in METHODS),
    *(("dllm2rec", model) for model in STUDENTS if model != "SASRec"),
]


@pytest.mark.parametrize(("method", "model"), CASES)
def test_a_training_is_the_same_as_without(
    method: str,
    model: str,
    data: PreparedData,
    knowledge: Knowledge,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpointing, "PART_ROWS", 10)
    losses = []
    for chosen in (False, True):
        trial = make_trial(method, model, training={"checkpointing": chosen, "max_epochs": 1})
        config = trial.student_config
        still = config.model_copy(update={"parameters": config.parameters | STILL[model]})
        trial = trial.model_copy(update={"student_config": still})
        losses.append([epoch["loss"] for epoch in run(trial, data, knowledge).curve])
    plain, parted = losses
    np.testing.assert_allclose(parted, plain, rtol=1e-3)
