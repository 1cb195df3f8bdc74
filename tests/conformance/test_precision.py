"""Every method with a student that is encoded in bfloat16 (`training.precision`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.data.examples import PreparedData
from bench.distillation import Knowledge
from bench.registry import METHODS

from .conftest import make_trial, run

CASES: list[tuple[str, str, dict[str, Any]]] = [
    *((entry.name, "SASRec", {}) for entry in METHODS),
    ("dllm2rec", "Caser", {}),
    ("learn", "Caser", {}),
    ("learn", "SASRec", {"item_tower": "raw", "ids": "gate"}),
    ("embedding-only", "SASRec", {"offset": False}),
]


@pytest.mark.parametrize(("method", "model", "settings"), CASES)
def test_a_training_is_that_of_float32_to_rounding(
    method: str, model: str, settings: dict[str, Any], data: PreparedData, knowledge: Knowledge
) -> None:
    plain, rounded = (
        run(
            make_trial(
                method,
                model,
                settings=settings,
                training={"precision": precision, "max_epochs": 1},
            ),
            data,
            knowledge,
        )
        for precision in ("float32", "bf16")
    )
    losses = [[epoch["loss"] for epoch in outcome.curve] for outcome in (rounded, plain)]
    np.testing.assert_allclose(*losses, rtol=0.02)
    assert {tensor.dtype for tensor in rounded.state.values()} == {np.dtype("float32")}
