"""The student of a finished trial, ready to rank."""

from __future__ import annotations

import numpy as np
import torch

from bench.data.examples import PreparedData
from bench.plan import Trial
from bench.records.export import load_weights
from bench.records.record import Record
from bench.records.store import ResultStore
from bench.students.adapter import Adapter


def build_student(trial: Trial, data: PreparedData, prompt_length: int) -> Adapter:
    """An untrained student of a trial; parameters are drawn from torch's global generator."""
    return Adapter.of(
        trial.student_config,
        n_items=data.n_items,
        history=data.train.history.shape[1],
        known_users=torch.from_numpy(np.bincount(data.train.user, minlength=data.n_users) > 0),
        objective=trial.training.objective,
        prompt_length=prompt_length,
    )


def load_student(record: Record, store: ResultStore, data: PreparedData) -> Adapter:
    """The distilled student of any method, in evaluation mode on the CPU.

    `bench.evaluation.ranking.rank_targets` ranks with it; `encode` and `logits` score the
    catalogue for histories of one's own.

    Raises:
        ConfigError: the record holds no student, or the data are not those it was trained on.
    """
    state = load_weights(record, store, data)
    assert record.trial is not None  # noqa: S101 - what has weights is a trial
    student = build_student(record.trial, data, len(state.get("prompts", ())))
    student.import_state(state)
    return student.eval()
