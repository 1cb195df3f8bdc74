"""A results folder made through the real store, with planted effects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.baselines.popularity import Popularity
from bench.data.examples import Examples, PreparedData
from bench.evaluation.metrics import TargetRanks, metrics_from_ranks, split_metrics
from bench.evaluation.segments import segment_metrics
from bench.plan import Reference, Trial
from bench.records.record import Outcome, failed, finished
from bench.records.store import ResultStore
from bench.students.config import StudentConfig
from bench.training.config import TrainingConfig

N_ITEMS, N_ROWS, N_USERS = 60, 600, 150
FINGERPRINT = "d" * 64
MACHINE = {"machine": "x86_64", "device": "cpu", "device_name": "a", "cores": 2, "threads": 2}


def make_data(dataset: str = "toy", fingerprint: str = FINGERPRINT) -> PreparedData:
    rng = np.random.default_rng(0)

    def rows(count: int) -> Examples:
        return Examples(
            history=np.ones((count, 10), dtype=np.int32),
            length=rng.integers(1, 11, count).astype(np.int32),
            target=(1 + np.floor(N_ITEMS * rng.random(count) ** 2)).astype(np.int32),
            user=np.sort(rng.integers(0, N_USERS, count)).astype(np.int32),
            ordinal=np.ones(count, dtype=np.int32),
        )

    return PreparedData(
        dataset=dataset,
        protocol="temporal-10",
        item_tokens=[str(i) for i in range(N_ITEMS)],
        item_texts=[""] * N_ITEMS,
        user_tokens=[str(u) for u in range(N_USERS)],
        train=rows(300),
        valid=rows(N_ROWS),
        test=rows(N_ROWS),
        catalogue_fingerprint="c",
        split_fingerprint="s",
        fingerprint=fingerprint,
    )


class Bench:
    """Writes trials whose ranks are a noisy signal: `skill` near 0 is chance, near 1 perfect."""

    def __init__(self, folder: Path, data: PreparedData | None = None) -> None:
        self.store = ResultStore(folder)
        self.data = data or make_data()
        self.store.write_users(self.data.fingerprint, self.data.test.user)

    def outcome(self, skill: float, seed: int) -> Outcome:
        rng = np.random.default_rng(seed)  # shared by methods, as batches and weights are
        uniform = rng.random(N_ROWS)
        ranks = 1 + np.floor((N_ITEMS - 1) * uniform ** (1 / (1 - skill))).astype(np.int32)
        return Outcome(
            metrics={"valid": metrics_from_ranks(ranks), "test": metrics_from_ranks(ranks)},
            segments=segment_metrics(ranks, self.data),
            ranks=ranks,
            timings={"train_seconds": 30.0 + seed},
            parameters={"training": 70_500, "inference": 64_000},
            latency={"ms_p50": 0.5, "ms_p95": 0.9},
            epochs=12,
        )

    def trial(self, method: str = "none", seed: int = 0, **changes: object) -> Trial:
        training = TrainingConfig(
            objective=changes.pop("objective", "ce"),
            selection=changes.pop("selection", "validation"),
            learning_rate=changes.pop("learning_rate", 1e-3),
        )
        teacher = None if method == "none" else changes.pop("teacher", "text")
        changes.pop("teacher", None)
        settings = {
            "dataset": self.data.dataset,
            "protocol": self.data.protocol,
            "data_fingerprint": self.data.fingerprint,
            "student": "sasrec",
            "student_config": StudentConfig(model="SASRec"),
            "training": training,
            "method": method,
            "method_code": "0" * 64,
            "teacher": teacher,
            "teacher_fingerprint": teacher and f"{teacher}-1",
            "seed": seed,
        }
        return Trial(**(settings | changes))

    def done(
        self, method: str = "none", seeds: int | list[int] = 3, skill: float = 0.3, **changes
    ) -> list[str]:
        """Write finished trials; returns their keys."""
        keys = []
        timings = changes.pop("timings", {})
        epochs = changes.pop("epochs", 12)
        environment = changes.pop("environment", MACHINE)
        told = {name: changes.pop(name) for name in ("latency", "parameters") if name in changes}
        for seed in range(seeds) if isinstance(seeds, int) else seeds:
            trial = self.trial(method, seed, **changes)
            outcome = self.outcome(skill, seed)
            outcome = replace(outcome, timings=outcome.timings | timings, epochs=epochs)
            outcome = replace(outcome, **told)
            if trial.seen == "mask":  # what users had before is nowhere above their targets here
                ranks = TargetRanks(outcome.ranks, outcome.ranks)
                both = split_metrics(valid=ranks, test=ranks)
                outcome = replace(outcome, metrics=both, masked_ranks=outcome.ranks)
            self.store.write(finished(trial, outcome, environment), outcome)
            keys.append(trial.key)
        return keys

    def fail(self, method: str, seed: int, status: str = "diverged", error: str = "NaN loss"):
        self.store.write(failed(self.trial(method, seed), status, error))

    def references(self, teacher_skill: float = 0.6) -> None:
        where = {
            "dataset": self.data.dataset,
            "protocol": self.data.protocol,
            "data_fingerprint": self.data.fingerprint,
        }
        popularity = (
            Popularity()
            .fit(self.data.train, self.data.n_items)
            .ranks(self.data.test, self.data.n_items)
        )
        for name, print_, outcome in (
            ("popularity", None, replace(self.outcome(0, 0), ranks=popularity)),
            ("teacher:text", "text-1", self.outcome(teacher_skill, 7)),
        ):
            reference = Reference(name=name, teacher_fingerprint=print_, **where)
            outcome = replace(
                outcome,
                metrics={"test": metrics_from_ranks(outcome.ranks)},
                segments=segment_metrics(outcome.ranks, self.data),
                timings={},
                parameters={},
                latency={},
                epochs=None,
            )
            self.store.write(finished(reference, outcome), outcome)


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path / "results")
