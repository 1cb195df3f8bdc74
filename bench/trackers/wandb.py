"""Weights & Biases without a network: runs in the results folder, for `wandb sync`."""

from __future__ import annotations

from bench.trackers.interface import Tracked, Tracker, register_tracker


@register_tracker("wandb")
class WeightsAndBiases(Tracker):
    """Settings as config, curves as history, final metrics as the summary; always offline."""

    needs = "wandb"

    def track(self, trial: Tracked) -> None:
        import wandb

        self.folder.mkdir(parents=True, exist_ok=True)
        run = wandb.init(
            mode="offline",
            project="bench",
            id=trial.key[:32],
            name=trial.name,
            dir=str(self.folder),
            config=dict(trial.settings),
            settings=wandb.Settings(
                silent=True, disable_git=True, disable_code=True, console="off"
            ),
            reinit="create_new",
        )
        for number, epoch in enumerate(trial.curve, start=1):
            run.log({f"epoch/{name}": value for name, value in epoch.items()}, step=number)
        run.summary.update({**trial.metrics, "status": trial.status})
        run.finish(exit_code=0 if trial.status == "done" else 1)
