"""RecTools' SASRec as its users run it: its own Dataset, loaders and Lightning trainer.

RecTools asks for an older NumPy than the suite, so this file runs under an interpreter of its own
(`--rectools`), which needs `pip install "rectools[torch]"` and nothing of the suite.

RecTools trains one sequence a user at all of its positions. To train on the rows that the suite
trains under `positions=all`, each window of a user is a user here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Trainer
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

from benchmarks.turns import seconds

_CPU = torch.device("cpu")
_K = 10


class Learning:
    """Epochs of RecTools' trainer, and NDCG@10 of what it recommends."""

    def __init__(self, rows: str, batch: int, device: str, seed: int) -> None:
        """Make the model.

        Args:
            rows: file of `benchmarks.dataset.Dataset.windows`.
            batch: rows of a step, on average.
            device: a torch device.
            seed: of the model's parameters and of the order.
        """
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - what RecTools draws from
        self.device = torch.device(device)
        with np.load(rows) as file:
            self.windows, self.histories, self.target = (
                file[name] for name in ("windows", "histories", "target")
            )
        trained = int((self.windows[:, 1:] > 0).sum())
        self.data = _dataset(self.windows)
        self.model = SASRecModel(
            n_blocks=2,
            n_heads=2,
            n_factors=64,
            dropout_rate=0.5,
            session_max_len=self.histories.shape[1],
            loss="softmax",
            lr=1e-3,
            batch_size=max(1, round(batch * len(self.windows) / trained)),
            recommend_torch_device=device,
            get_trainer_func=self._trainer,
        )

    def epoch(self) -> float:
        """Seconds of one epoch."""
        one = {"min_epochs": 1, "max_epochs": 1}
        return seconds(lambda: self.model.fit_partial(self.data, **one), self.device)

    def quality(self) -> float:
        """NDCG@10 of the validation rows, all items that were trained on as candidates."""
        data = _dataset(self.histories)
        users = np.arange(len(self.histories))
        found = self.model.recommend(users, data, k=_K, filter_viewed=False)
        hit = found[Columns.Item].to_numpy() == self.target[found[Columns.User].to_numpy()]
        gains = 1 / np.log2(found[Columns.Rank].to_numpy()[hit] + 1)
        return float(gains.sum() / len(users))

    def _trainer(self) -> Any:
        return Trainer(
            max_epochs=1,
            accelerator="cpu" if self.device.type == "cpu" else "gpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )


def _dataset(sequences: np.ndarray) -> Dataset:
    """Sequences int [U, L] of items, padded with 0 on the right, of users 0..U-1."""
    user, place = np.nonzero(sequences)
    table = {
        Columns.User: user,
        Columns.Item: sequences[user, place],
        Columns.Weight: 1.0,
        Columns.Datetime: pd.Timestamp("2020-01-01") + pd.to_timedelta(place, "D"),
    }
    return Dataset.construct(pd.DataFrame(table))
