"""What holds for a trial whatever its method."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bench.data.rows import PreparedData
from bench.evaluation.metrics import metrics_from_ranks
from bench.evaluation.ranking import rank_targets
from bench.students.recbole import RecBoleStudent
from bench.training.rows import DeviceRows
from methods.base import Knowledge

from .conftest import N_ITEMS, make_trial, rows, run

TRAINING = {"max_epochs": 6, "min_epochs": 6, "learning_rate": 0.02}


def test_test_rows_have_no_say_in_training(data: PreparedData) -> None:
    other = dataclasses.replace(data, test=rows(60, seed=77))
    trial = make_trial("none", training=TRAINING)
    first, second = run(trial, data, None), run(trial, other, None)
    assert first.best_epoch == second.best_epoch
    assert all(np.array_equal(first.state[k], second.state[k]) for k in first.state)
    assert first.metrics["valid"] == second.metrics["valid"]
    assert not np.array_equal(first.ranks, second.ranks)


def test_validation_rows_choose_the_epoch(data: PreparedData) -> None:
    trial = make_trial("none", training=TRAINING)
    outcome = run(trial, data, None)
    curve = [epoch["ndcg@20"] for epoch in outcome.curve]
    assert outcome.best_epoch == 1 + int(np.argmax(curve))
    assert outcome.metrics["valid"]["ndcg@20"] == pytest.approx(max(curve), abs=1e-6)


def test_the_oracle_rule_reads_the_test_rows_instead(data: PreparedData) -> None:
    trial = make_trial("none", training=TRAINING | {"selection": "oracle"})
    outcome = run(trial, data, None)
    curve = [epoch["ndcg@20"] for epoch in outcome.curve]
    assert outcome.metrics["test"]["ndcg@20"] == pytest.approx(max(curve), abs=1e-6)


@pytest.mark.parametrize("method", ["none", "dllm2rec"])
def test_the_stored_student_gives_the_stored_ranks(
    method: str, data: PreparedData, knowledge: Knowledge
) -> None:
    trial = make_trial(method, training=TRAINING)
    outcome = run(trial, data, knowledge)
    student = RecBoleStudent(
        trial.student_config,
        n_items=N_ITEMS,
        history=data.train.history.shape[1],
        known_users=torch.ones(data.n_users, dtype=torch.bool),
        objective="ce",
    )
    student.import_state({k: torch.from_numpy(v) for k, v in outcome.state.items()})
    ranks = rank_targets(student.eval(), DeviceRows.of(data.test, torch.device("cpu")))
    np.testing.assert_array_equal(ranks, outcome.ranks)
    assert metrics_from_ranks(outcome.ranks) == outcome.metrics["test"]


def test_methods_of_a_cell_see_the_same_batches_and_start(
    data: PreparedData, knowledge: Knowledge
) -> None:
    # After one epoch at a vanishing step size the students still are what they started as.
    still = {"max_epochs": 1, "learning_rate": 1e-30}
    none = run(make_trial("none", training=still), data, None)
    taught = run(make_trial("ranking-only", training=still), data, knowledge)
    for name, tensor in none.state.items():
        np.testing.assert_allclose(tensor, taught.state[name], rtol=0, atol=1e-20)
    assert none.curve[0]["base"] == taught.curve[0]["base"]
