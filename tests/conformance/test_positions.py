"""Every method with rows that are trained window by window (`training.positions`)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.data.examples import PreparedData
from bench.distillation import Batch, Knowledge, Method, Output, Student
from bench.execution.trial import run_trial
from bench.registry import METHODS

from .conftest import USERS, make_trial, run


@pytest.mark.parametrize(("model", "positions"), [("SASRec", "all"), ("GRU4Rec", "half")])
@pytest.mark.parametrize("method", [entry.name for entry in METHODS])
def test_every_method_trains_window_by_window(
    method: str, model: str, positions: str, sequences: PreparedData, knowledge: Knowledge
) -> None:
    training = {"positions": positions, "max_epochs": 1}
    outcome = run(make_trial(method, model, training=training), sequences, knowledge)
    assert all(np.isfinite(list(epoch.values())).all() for epoch in outcome.curve)
    assert all(np.isfinite(tensor).all() for tensor in outcome.state.values())


class Witness(Method):
    """Keeps what a step shows it, and what the student makes of each row's last items alone."""

    seen: list[int] = []  # noqa: RUF012 - read by the test, made anew there
    shares: list[int] = []  # noqa: RUF012

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        self.encode = student.encode
        self.rows = knowledge.rows

    @torch.no_grad()
    def loss(self, batch: Batch, output: Output) -> dict[str, torch.Tensor]:
        assert self.rows is not None
        assert torch.equal(batch.target, self.rows.target[batch.row_id])
        assert torch.equal(batch.history, self.rows.history[batch.row_id])
        self.seen += batch.row_id.tolist()
        for index, hidden in enumerate(output.hidden):
            self.shares.append(self.items_seen(batch, index, hidden))
        return {}

    def items_seen(self, batch: Batch, index: int, hidden: torch.Tensor) -> int:
        """How many of the row's last items its hidden state is made of."""
        whole = batch.history[index, : batch.length[index]]
        found = []
        for count in range(1, len(whole) + 1):
            part = whole[None, len(whole) - count :]
            encoded = self.encode(part, torch.tensor([count]), None)
            found += [count] * torch.allclose(encoded[0], hidden, atol=1e-5)
        assert len(found) == 1
        return found[0]


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec"])
@pytest.mark.parametrize(
    ("positions", "counts"),
    # Of ordinals 1..10 in windows of 5; and of 10..8, 7..5, 4..2 and 1: rows that see 1..5 items.
    [("all", [2, 2, 2, 2, 2]), ("half", [1, 1, 3, 3, 2])],
)
def test_a_row_is_the_last_items_of_its_history(
    model: str, positions: str, counts: list[int], sequences: PreparedData
) -> None:
    Witness.seen, Witness.shares = [], []
    still = {
        "SASRec": {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0},
        "GRU4Rec": {"dropout_prob": 0.0},
    }
    trial = make_trial("none", model, training={"positions": positions, "max_epochs": 1})
    config = trial.student_config
    parameters = config.parameters | still[model]
    trial = trial.model_copy(
        update={"student_config": config.model_copy(update={"parameters": parameters})}
    )
    run_trial(trial, sequences, None, Witness, "cpu")
    assert sorted(Witness.seen) == list(range(len(sequences.train)))
    assert np.bincount(Witness.shares).tolist() == [0, *(USERS * count for count in counts)]
