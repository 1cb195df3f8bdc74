"""The table of a search: validation decides, and test is not looked at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.evaluation.metrics import metrics_from_ranks
from bench.records.frame import runs
from bench.records.record import Record, failed, finished
from bench.reporting.formatting import MISSING
from bench.reporting.markdown import written
from bench.reporting.search import searched
from bench.reporting.section import Section
from bench.training.config import TrainingConfig

from .conftest import Bench


def record(bench: Bench, weight: float | None, valid: int, test: int, seed: int = 0, **changes):
    """A trial whose targets all have rank `valid` on validation and `test` on test."""
    settings = {} if weight is None else {"weight": weight}
    overrides = {f"method.{name}": value for name, value in settings.items()}
    method = "none" if weight is None else "hint"
    trial = bench.trial(method, seed, method_settings=settings, overrides=overrides, **changes)
    ranks = np.full(100, test, dtype=np.int32)
    metrics = {"valid": metrics_from_ranks(np.full(100, valid)), "test": metrics_from_ranks(ranks)}
    outcome = replace(bench.outcome(0.3, 0), metrics=metrics, ranks=ranks, best_epoch=7)
    return finished(trial, outcome)


def section_of(records: list[Record]) -> Section:
    (section,) = searched(runs(records, Path("nowhere")))
    return section


def cells(records: list[Record]) -> list[list[str]]:
    return section_of(records).tables[0].frame.to_numpy().tolist()


def test_the_best_on_validation_is_marked_whatever_test_says(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    rows = cells(
        [
            record(bench, None, valid=3, test=3),
            record(bench, 0.1, valid=4, test=1),
            record(bench, 1.0, valid=2, test=9),
        ]
    )
    assert [row[4] for row in rows] == ["as configured", "weight=0.1", "weight=1.0"]
    assert [row[-1] for row in rows] == ["*", "", "*"]
    at = [1 / np.log2(1 + rank) for rank in (3, 4, 2)]
    assert [row[6] for row in rows] == [f"{value:.4f}" for value in at]
    gains = [f"{100 * (value / at[0] - 1):+.1f} %" for value in at[1:]]
    assert [row[7] for row in rows] == [MISSING, *gains]


def test_each_teacher_has_a_best_setting_of_its_own(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    records = [
        record(bench, weight, valid=valid, test=1, teacher=teacher)
        for weight, ranks in (
            (0.1, (2, 5)),
            (1.0, (3, 4)),
        )  # as a grid has them, setting by setting
        for teacher, valid in zip(("text", "learn"), ranks, strict=True)
    ]
    assert [(row[3], row[4]) for row in cells(records) if row[-1]] == [
        ("text", "weight=0.1"),
        ("learn", "weight=1.0"),
    ]


def test_seeds_of_one_setting_are_averaged_and_a_failure_wins_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    lost = bench.trial("hint", 0, method_settings={"weight": 9.0})
    records = [
        record(bench, 0.1, valid=1, test=1, seed=0),
        record(bench, 0.1, valid=15, test=1, seed=1),
        record(bench, 1.0, valid=2, test=1, seed=0),
        record(bench, 1.0, valid=2, test=1, seed=1),
        failed(lost, "diverged", "NaN loss"),
    ]
    rows = cells(records)
    assert [(row[5], row[6], row[-1]) for row in rows] == [
        ("2", f"{(1 + 1 / 4) / 2:.4f}", ""),
        ("2", f"{1 / np.log2(3):.4f}", "*"),
        ("0", MISSING, ""),
    ]
    assert "diverged" in written([section_of(records)])


def test_settings_with_most_seeds_compete_and_seeds_that_none_has_compare(tmp_path: Path) -> None:
    """A setting whose hard seed diverged is no better for it."""
    bench = Bench(tmp_path)
    lost = bench.trial("hint", 1, method_settings={"weight": 9.0}, overrides={"method.weight": 9.0})
    records = [
        record(bench, None, valid=3, test=1, seed=0),
        record(bench, 1.0, valid=1, test=1, seed=0),
        record(bench, 1.0, valid=7, test=1, seed=1),
        record(bench, 9.0, valid=1, test=1, seed=0),
        failed(lost, "diverged", "NaN loss"),
    ]
    assert [(row[4], row[7], row[-1]) for row in cells(records)[1:]] == [
        ("weight=1.0", "+100.0 %", "*"),
        ("weight=9.0", "+100.0 %", ""),
    ]
    section = section_of(records)
    assert section.failures == ["toy sasrec hint (text) seed 1, weight=9.0: diverged"]


def test_the_metric_is_the_one_that_chose_the_epochs(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    training = TrainingConfig(select="hr@10")
    records = [
        record(bench, 0.1, valid=10, test=1, training=training),
        record(bench, 1.0, valid=11, test=1, training=training),
    ]
    section = section_of(records)
    assert section.tables[0].frame.columns[6] == "HR@10 (valid)"
    assert [row[6] for row in cells(records)] == ["1.0000", "0.0000"]
