"""Records as lines of a DataFrame, whatever wrote them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.evaluation.metrics import metric_names
from bench.paths import SHIPPED
from bench.plan import Reference
from bench.records.frame import COLUMNS, runs
from bench.records.leaderboard import COLUMNS as BOARD
from bench.records.leaderboard import leaderboard
from bench.records.record import Record, failed, finished
from bench.records.store import ResultStore
from bench.reporting.render import render
from tests.reporting.conftest import FINGERPRINT, MACHINE, Bench

NOWHERE = Path("nowhere")


def done(bench: Bench, **changes: object) -> Record:
    return finished(bench.trial("dllm2rec", 3, **changes), bench.outcome(0.3, 3), MACHINE)


def test_a_line_says_what_the_record_says(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    record = done(bench, control="shuffled", variant="paper", overrides={"method.x": 1})
    (run,) = runs([record], tmp_path).to_dict("records")
    told = {"method": "dllm2rec:paper", "variant": "paper", "teacher": "text", "seed": 3}
    told |= {"control": "shuffled", "kind": "trial", "status": "done", "objective": "ce"}
    told |= {"key": record.key, "folder": str(tmp_path), "overrides": {"method.x": 1}}
    told |= {"parameters": 64_000, "train_seconds": 33.0, "epoch_seconds": 33.0 / 12, "cores": 2}
    assert told.items() <= run.items()
    assert pd.isna(run["error"]) and pd.isna(run["coverage"])
    for name in metric_names():
        assert run[name] == record.metrics["test"][name]
        assert run[f"valid/{name}"] == record.metrics["valid"][name]
        assert run[f"warm/{name}"] == record.segments["warm"][name]
    assert run["examples"] == len(bench.data.test)


def test_a_failure_has_no_metrics(tmp_path: Path) -> None:
    trial = Bench(tmp_path).trial("hint", 0)
    frame = runs([failed(trial, "diverged", "NaN loss")], NOWHERE)
    (run,) = frame.to_dict("records")
    assert (run["status"], run["error"]) == ("diverged", "NaN loss")
    assert frame[metric_names()].isna().all(axis=None)


def test_runs_of_one_entry_differ_in_seed_and_overrides_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    records = [
        done(bench),
        finished(bench.trial("dllm2rec", 4), bench.outcome(0.3, 4)),
        done(bench, overrides={"method.x": 1}),
        done(bench, control="shuffled"),
        done(bench, teacher="other"),
        done(bench, learning_rate=0.5),
    ]
    frame = runs(records, NOWHERE)
    entry, setting = frame["entry"], frame["setting"]
    assert entry.nunique() == 4 and entry[:3].nunique() == 1
    assert setting[:5].nunique() == 1 and setting[5] != setting[0]
    assert frame["counterpart"][3] == entry[0] and frame["counterpart"][0] == entry[0]


def test_no_records_have_all_columns_too() -> None:
    frame = runs([], NOWHERE)
    assert [*frame.columns] == [*COLUMNS, *metric_names()]
    assert [*leaderboard(frame).columns] == BOARD


def test_an_environment_that_says_something_odd_is_no_error(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    odd = MACHINE | {"cores": "many", "threads": None, "packages": {}}
    record = finished(bench.trial(), bench.outcome(0.3, 0), odd)
    assert runs([record], NOWHERE)["cores"].isna().all()


def test_metrics_with_odd_names_and_absurd_cutoffs_end_no_report(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    plain, outcome = bench.outcome(0.3, 3), bench.outcome(0.3, 4)
    test = outcome.metrics["test"] | {"key": 0.5, "hr@2000000000": 1.0, "own": 0.25}
    odd = replace(outcome, metrics=outcome.metrics | {"test": test})
    for seed, one in ((3, plain), (4, odd)):
        trial = bench.trial("hint", seed)
        bench.store.write(finished(trial, one, MACHINE), one)
    frame = runs(bench.store.records(), tmp_path).sort_values("seed")
    assert frame.columns.is_unique
    assert frame["key"].map(len).eq(64).all()
    assert frame["own"].fillna(-1).tolist() == [-1, 0.25]
    assert frame["ndcg@20"].tolist() == [one.metrics["test"]["ndcg@20"] for one in (plain, odd)]


@pytest.mark.parametrize("name", ["ranked_places", "items"])
@pytest.mark.parametrize("value", ["x", 0, 1.5, [1]])
def test_a_reference_with_odd_settings_ends_no_report(
    tmp_path: Path, name: str, value: object
) -> None:
    bench = Bench(tmp_path)
    outcome = bench.outcome(0.3, 3)
    bench.store.write(finished(bench.trial("none", 3), outcome, MACHINE), outcome)
    reference = Reference(
        dataset="toy", protocol="temporal-10", name="odd", data_fingerprint=FINGERPRINT
    )
    odd = replace(outcome, settings={name: value})
    bench.store.write(finished(reference, odd), odd)
    assert "odd" not in render(bench.store)


def test_a_control_is_not_lost_by_being_excluded() -> None:
    """Comparing text that is missing is neither an error nor unknown."""
    store = ResultStore(SHIPPED / "results" / "reference")
    frame = runs(store.records(), store.folder)
    assert (frame["control"] != "shuffled").sum() == frame["control"].isna().sum() > 100


def test_a_board_is_the_same_from_any_order_of_runs() -> None:
    store = ResultStore(SHIPPED / "results" / "reference")
    frame = runs(store.records(), store.folder)
    mixed = frame.iloc[np.random.default_rng(0).permutation(len(frame))]
    pd.testing.assert_frame_equal(leaderboard(frame), leaderboard(mixed))
