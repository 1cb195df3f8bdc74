"""The suite's side of what is compared: its steps, its ranking, its way of loading rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from bench.config.methods import read_method
from bench.data.examples import PreparedData
from bench.evaluation.metrics import metrics_from_ranks
from bench.evaluation.ranking import rank_targets
from bench.paths import SHIPPED, Workspace
from bench.registry import METHODS
from bench.students.config import StudentConfig
from bench.training.config import TrainingConfig
from bench.training.rows import DeviceRows
from benchmarks.case import Case
from benchmarks.dataset import Dataset
from benchmarks.turns import seconds
from benchmarks.world import Sizes, World, teach

STUDENT = StudentConfig(model="SASRec", parameters={})
"""RecBole's own defaults: two layers, two heads, d = 64, inner 256, dropout 0.5."""


def official_code() -> dict[str, Any]:
    """Settings under which `dllm2rec` computes what the released program of DLLM2Rec computes."""
    return read_method(METHODS.get("dllm2rec"), Workspace(SHIPPED)).variants["official_code"]


class Training:
    """Steps of the training loop."""

    def __init__(
        self,
        data: dict[str, str],
        training: dict[str, Any],
        device: str,
        method: str = "none",
        teacher: int = 1,
    ) -> None:
        """Args: training: settings of `training`. teacher: D of the random teacher."""
        where = torch.device(device)
        world = taught(Dataset(**data).load(), teacher, where)
        settings = official_code() if method == "dllm2rec" else {}
        self.case = Case(STUDENT, method, settings, 0, world, TrainingConfig(**training), where)

    def steps(self) -> int:
        """Steps of an epoch."""
        return self.case.steps()

    def run(self) -> float:
        """Seconds of one step."""
        return self.case.run()


class Learning:
    """Passes over all rows, and what they teach."""

    def __init__(
        self, data: dict[str, str], training: dict[str, Any], device: str, seed: int
    ) -> None:
        where = torch.device(device)
        loaded = Dataset(**data).load()
        world = taught(loaded, 1, where)
        self.valid = DeviceRows.of(loaded.valid, where)
        config = TrainingConfig(**training)
        self.case = Case(STUDENT, "none", {}, 0, world, config, where, seed)

    def epoch(self) -> float:
        """Seconds of one pass."""
        return self.case.epoch()

    def quality(self) -> float:
        """NDCG@10 of the validation rows in the whole catalogue."""
        ranks = rank_targets(self.case.student.eval(), self.valid)
        return metrics_from_ranks(ranks)["ndcg@10"]


class Evaluation:
    """Full ranking of the test rows, and the metrics of the ranks."""

    def __init__(self, data: dict[str, str], device: str) -> None:
        self.device = torch.device(device)
        loaded = Dataset(**data).load()
        world = taught(loaded, 1, self.device)
        self.rows = DeviceRows.of(loaded.test, self.device)
        case = Case(STUDENT, "none", {}, 0, world, TrainingConfig(), self.device)
        self.student = case.student.eval()

    def count(self) -> int:
        """Rows that are ranked."""
        return len(self.rows)

    def run(self) -> float:
        """Seconds of one pass."""
        return seconds(
            lambda: metrics_from_ranks(rank_targets(self.student, self.rows)), self.device
        )


class Loading:
    """Prepared rows onto the device."""

    def __init__(self, data: dict[str, str], device: str) -> None:
        self.data, self.device = Dataset(**data), torch.device(device)

    def run(self) -> float:
        """CPU seconds of opening the tables and copying all of them."""
        return seconds(self._load, torch.device("cpu"))

    def _load(self) -> None:
        data = self.data.load()
        for rows in (data.train, data.valid, data.test):
            DeviceRows.of(rows, self.device)


def taught(data: PreparedData, teacher: int, device: torch.device) -> World:
    """The training rows and a random teacher with embeddings of width `teacher`."""
    rows = DeviceRows.of(data.train, torch.device("cpu"))
    sizes = Sizes(
        data.n_items, len(rows), teacher=teacher, listed=10, models=1, states=1,
        trajectory_listed=1,
    )  # fmt: skip
    knowledge = teach(rows, sizes, torch.Generator().manual_seed(0)).to(device)
    resident = DeviceRows.of(data.train, device)
    return World(resident, replace(knowledge, rows=resident))
