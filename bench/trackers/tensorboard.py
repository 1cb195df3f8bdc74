"""TensorBoard: a folder of event files for each trial."""

from __future__ import annotations

import shutil

from bench.trackers.interface import Tracked, Tracker, register_tracker


@register_tracker("tensorboard")
class TensorBoard(Tracker):
    """Curves as scalars, settings and final metrics in the tab of hyperparameters."""

    needs = "tensorboard"

    def track(self, trial: Tracked) -> None:
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        folder = self.folder / f"{trial.name.replace('/', '-')} {trial.key[:8]}"
        shutil.rmtree(folder, ignore_errors=True)
        with SummaryWriter(str(folder)) as writer:
            for number, epoch in enumerate(trial.curve, start=1):
                for name, value in epoch.items():
                    writer.add_scalar(f"epoch/{name}", value, number)
            for name, value in trial.metrics.items():
                writer.add_scalar(name, value, len(trial.curve))
            for summary in hparams(dict(trial.settings), dict(trial.metrics)):
                writer.file_writer.add_summary(summary)
            writer.add_text("record", f"{trial.status}, {trial.key}")
