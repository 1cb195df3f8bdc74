"""Trackers show what a record holds: their own readers open what was written."""

from __future__ import annotations

import json
import logging

import pytest
from click.testing import CliRunner

from bench.cli.main import main
from bench.records.record import Outcome, failed, finished
from bench.records.store import ResultStore
from bench.trackers import interface
from bench.trackers.interface import TRACKERS, Tracker, track

from .records.test_underway import trial

CURVE = [{"epoch": 1, "loss": 2.5, "ndcg@20": 0.1}, {"epoch": 2, "loss": 1.5, "ndcg@20": 0.2}]


def record():
    import numpy as np

    metrics = {"valid": {"ndcg@20": 0.2}, "test": {"ndcg@20": 0.3}}
    outcome = Outcome(metrics, {}, np.ones(3, np.int32), settings={"weight": 0.5, "parts": [1, 2]})
    return finished(trial(0, "hint"), outcome)


def test_tensorboard_opens_its_files(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):  # a trial that is shown again is there once
        track(["tensorboard"], tmp_path, record(), CURVE)
    (folder,) = (tmp_path / "trackers" / "tensorboard").iterdir()
    events = EventAccumulator(str(folder)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("epoch/loss")] == [(1, 2.5), (2, 1.5)]
    assert events.Scalars("test/ndcg@20")[0].value == pytest.approx(0.3)
    assert "_hparams_/session_start_info" in events.PluginTagToContent("hparams")


def test_mlflow_opens_its_files(tmp_path):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    for _ in range(2):
        track(["mlflow"], tmp_path, record(), CURVE)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'trackers' / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("bench")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params["method.weight"] == "0.5"
    assert run.data.params["training.learning_rate"] == "0.001"
    assert run.data.metrics["test/ndcg_at_20"] == pytest.approx(0.3)
    history = client.get_metric_history(run.info.run_id, "epoch/loss")
    assert [(each.step, each.value) for each in history] == [(1, 2.5), (2, 1.5)]
    assert (run.info.run_name, run.info.status) == ("toy sasrec hint seed 0", "FINISHED")


def test_wandb_writes_a_run_that_can_be_synced(tmp_path):
    pytest.importorskip("wandb")
    track(["wandb"], tmp_path, record(), CURVE)
    (folder,) = (tmp_path / "trackers" / "wandb" / "wandb").glob("offline-run-*")
    assert [path.stat().st_size > 0 for path in folder.glob("*.wandb")] == [True]


@pytest.mark.parametrize("name", TRACKERS.names())
def test_a_failure_is_shown_as_one(tmp_path, name):
    pytest.importorskip(TRACKERS.load(name).needs)
    lost = failed(trial(1), "diverged", "NaN loss")
    track([name], tmp_path, lost, CURVE[:1])
    assert any((tmp_path / "trackers" / name).iterdir())


def test_a_tracker_that_fails_is_a_line_in_the_log(tmp_path, monkeypatch, caplog):
    class Broken(Tracker):
        def track(self, trial):
            raise OSError("no disk")

    monkeypatch.setattr(interface.TRACKERS, "load", lambda name: Broken)
    with caplog.at_level(logging.WARNING):
        track(["broken"], tmp_path, record(), CURVE)
    assert "tracker broken: OSError: no disk" in caplog.text


def test_what_cannot_track_is_said_before_anything_is_trained(tiny):
    told = CliRunner().invoke(
        main, ["run", "-d", "tiny", "-s", "tiny", "-m", "none", "--tracker", "tensorbord"]
    )
    assert told.exit_code == 2 and "Did you mean 'tensorboard'" in told.stderr
    assert not tiny.results.exists()


def test_a_run_shows_its_trials_whatever_their_tracker_can_write(tiny):
    """The folder of the tracker is a file: trials have their records nevertheless."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = ["run", "-d", "tiny", "-s", "tiny", "-m", "none", "--tracker", "tensorboard"]
    done = CliRunner().invoke(main, [*options, "--seeds", "0"])
    assert done.exit_code == 0, done.output
    (folder,) = (tiny.results / "trackers" / "tensorboard").iterdir()
    losses = EventAccumulator(str(folder)).Reload().Scalars("epoch/loss")
    (trial_of_seed,) = [r for r in ResultStore(tiny.results).records() if r.trial]
    assert len(losses) == trial_of_seed.epochs
    (tiny.results / "trackers" / "tensorboard").rename(tiny.results / "before")
    (tiny.results / "trackers" / "tensorboard").write_text("")
    again = CliRunner().invoke(main, [*options, "--seeds", "1"])
    assert again.exit_code == 0, again.output
    assert "tracker tensorboard" in again.output
    shown = CliRunner().invoke(main, ["report", "--format", "json"])
    seeds = {line["seeds"] for line in json.loads(shown.stdout) if line["kind"] == "trial"}
    assert seeds == {"0 1"}
