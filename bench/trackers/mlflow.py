"""MLflow: a run for each trial, in the place of MLFLOW_TRACKING_URI or in the results folder."""

from __future__ import annotations

import os
from itertools import islice

from bench.trackers.interface import Tracked, Tracker, register_tracker

EXPERIMENT, DATABASE = "bench", "mlflow.db"
_BATCH = 100
"""Parameters that MLflow takes at once; of metrics it takes more."""


@register_tracker("mlflow")
class MLflow(Tracker):
    """Settings as parameters, curves and final metrics as metrics of the experiment `bench`."""

    needs = "mlflow"

    def track(self, trial: Tracked) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        place = os.environ.get("MLFLOW_TRACKING_URI")
        if place is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            place = f"sqlite:///{self.folder.absolute() / DATABASE}"
        client = MlflowClient(place)
        found = client.get_experiment_by_name(EXPERIMENT)
        experiment = (
            found.experiment_id
            if found
            else client.create_experiment(
                EXPERIMENT, artifact_location=self.folder.absolute().as_uri()
            )
        )
        for old in client.search_runs([experiment], f"tags.key = '{trial.key}'"):
            client.delete_run(old.info.run_id)
        tags = {"key": trial.key, "status": trial.status}
        run = client.create_run(experiment, run_name=trial.name, tags=tags).info
        metrics = [
            Metric(_allowed(f"epoch/{name}"), value, run.start_time, number)
            for number, epoch in enumerate(trial.curve, start=1)
            for name, value in epoch.items()
        ]
        metrics += [
            Metric(_allowed(name), value, run.start_time, len(trial.curve))
            for name, value in trial.metrics.items()
        ]
        params = [Param(_allowed(name), str(value)) for name, value in trial.settings.items()]
        for batch in _batches(metrics):
            client.log_batch(run.run_id, metrics=batch)
        for batch in _batches(params):
            client.log_batch(run.run_id, params=batch)
        client.set_terminated(run.run_id, "FINISHED" if trial.status == "done" else "FAILED")


def _allowed(name: str) -> str:
    """A name as MLflow allows it: `ndcg@20` is `ndcg_at_20`."""
    text = name.replace("@", "_at_")
    return "".join(char if char.isalnum() or char in "_-. /" else "_" for char in text)


def _batches(lines: list) -> list[list]:  # type: ignore[type-arg]
    rest = iter(lines)
    return list(iter(lambda: list(islice(rest, _BATCH)), []))
