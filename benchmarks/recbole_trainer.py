"""RecBole as its users run it: its own Config, dataset, loaders, Trainer and evaluation.

To be imported only in a process of its own: the current folder fills with logs, and importing
the models switches autograd's anomaly detection on. Both are RecBole's behaviour, not an
accident of this file.
"""

from __future__ import annotations

import builtins
import itertools
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.trainer import Trainer
from recbole.utils import get_model

from benchmarks.turns import seconds


class _Config(Config):  # type: ignore[misc] # RecBole has no types
    def compatibility_settings(self) -> None:
        """Give NumPy the names that RecBole reads; its own version fails with NumPy 2."""
        for name in ("int", "float", "object"):
            setattr(np, name, getattr(builtins, name))


class _RecBole:
    """Everything that RecBole's quick start makes before it trains."""

    def __init__(
        self,
        settings: dict[str, Any],
        batch: int,
        loss: str,
        device: str,
        model: str = "SASRec",
    ) -> None:
        negatives = {} if loss == "BPR" else {"train_neg_sample_args": None}
        self.config = _Config(
            model=model,
            config_dict={
                **settings,
                **negatives,
                "loss_type": loss,
                "train_batch_size": batch,
                "use_gpu": device != "cpu",
                "metrics": ["Hit", "NDCG", "MRR"],
                "topk": [1, 5, 10, 20],
                "valid_metric": "NDCG@10",
                "show_progress": False,
                "state": "ERROR",
            },
        )
        self.device = torch.device(device)
        self.loading = seconds(self._load, torch.device("cpu"))
        network = get_model(model)(self.config, self.train.dataset)
        self.model = network.to(self.config["device"])
        self.trainer = Trainer(self.config, self.model)

    def _load(self) -> None:
        dataset = create_dataset(self.config)
        self.train, self.valid, self.test = data_preparation(self.config, dataset)

    def loaded(self) -> float:
        """CPU seconds that making rows and loaders took."""
        return self.loading


class Training(_RecBole):
    """Steps of RecBole's Trainer on batches of RecBole's loader."""

    def __init__(self, settings: dict[str, Any], batch: int, loss: str, device: str) -> None:
        super().__init__(settings, batch, loss, device)
        batches = itertools.chain.from_iterable(itertools.repeat(self.train))
        self._batches = (each for each in batches if len(each) == batch)

    def steps(self) -> int:
        """Steps of an epoch."""
        return len(self.train)

    def run(self, anomaly: bool) -> float:
        """Seconds of one step, with or without the anomaly detection that RecBole turns on."""
        torch.autograd.set_detect_anomaly(anomaly)
        one = itertools.islice(self._batches, 1)
        return seconds(lambda: self.trainer._train_epoch(one, 0), self.device)


class Learning(_RecBole):
    """Epochs of RecBole's Trainer, and its own evaluation of the validation rows."""

    def __init__(
        self,
        settings: dict[str, Any],
        batch: int,
        loss: str,
        device: str,
        seed: int,
        model: str = "SASRec",
    ) -> None:
        torch.manual_seed(seed)
        super().__init__(settings, batch, loss, device, model)

    def epoch(self) -> float:
        """Seconds of one epoch, without the anomaly detection that RecBole turns on."""
        torch.autograd.set_detect_anomaly(False)
        return seconds(lambda: self.trainer._train_epoch(self.train, 0), self.device)

    def quality(self) -> float:
        """NDCG@10 of the validation rows in the whole catalogue."""
        return float(self.trainer.evaluate(self.valid, load_best_model=False)["ndcg@10"])


class Whole(Learning):
    """A training to its end, chosen on validation, and its own reading of the test rows."""

    def tested(self) -> dict[str, float]:
        """Metrics of the test rows in the whole catalogue."""
        torch.autograd.set_detect_anomaly(False)
        self.trainer.fit(self.train, self.valid, saved=True, show_progress=False)
        # The checkpoint holds RecBole's configuration, which torch unpickles only when told to.
        file = self.trainer.saved_model_file
        self.model.load_state_dict(torch.load(file, weights_only=False)["state_dict"])
        return dict(self.trainer.evaluate(self.test, load_best_model=False))


class Evaluation(_RecBole):
    """RecBole's full-sort evaluation of the test rows."""

    def __init__(self, settings: dict[str, Any], device: str) -> None:
        super().__init__(settings, 2048, "CE", device)

    def count(self) -> int:
        """Rows that are ranked."""
        return len(self.test.dataset)

    def run(self) -> float:
        """Seconds of one pass."""
        return seconds(lambda: self.trainer.evaluate(self.test, load_best_model=False), self.device)
