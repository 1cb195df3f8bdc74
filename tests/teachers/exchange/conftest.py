"""Where tests of the exchange put foreign files, and what they should become."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.data.examples import PreparedData
from bench.errors import BenchError
from bench.paths import Workspace
from bench.teachers.exchange.files import Request
from bench.teachers.exchange.importing import import_teacher
from bench.teachers.knowledge import load_knowledge

from ..conftest import N_ITEMS, N_ROWS

PUBLISHED = ("all_embeddings.pt", "myrank_train.txt", "confidence_train.txt")


class Desk:
    """Where a test puts foreign files and finds the teacher that they become."""

    def __init__(self, home: Path, data: PreparedData) -> None:
        self.home, self.data = home, data
        self.folder = home / "tocf" / "toy" / "mine"
        self.foreign = home / "foreign"
        self.foreign.mkdir()

    def bring(self, *paths: str | Path, force: bool = False, **options: Any) -> list[str]:
        request = Request([str(path) for path in paths or [self.foreign]], **options)
        return import_teacher("mine", request, self.data, Workspace(self.home), self.folder, force)

    def refused(self, *paths: str | Path, kind: type = BenchError, **options: Any) -> str:
        with pytest.raises(kind) as caught:
            self.bring(*paths, **options)
        assert not self.folder.exists()
        left = [p.name for p in self.folder.parent.glob("*") if not p.name.endswith(".lock")]
        assert left == []
        return str(caught.value)

    def table(self, name: str, **columns: Any) -> Path:
        path, frame = self.foreign / name, pd.DataFrame(columns)
        if name.endswith(".parquet"):
            frame.to_parquet(path)
        else:
            frame.to_csv(path, index=False, sep="," if ".csv" in name else "\t")
        return path

    def knowledge(self) -> Any:
        return load_knowledge(self.folder, self.data)


def later(data: PreparedData) -> PreparedData:
    """The data with ordinals as they are in earnest: no two rows of a user have the same."""
    valid = replace(data.valid, ordinal=data.valid.ordinal + 100)
    return replace(data, valid=valid, test=replace(data.test, ordinal=data.test.ordinal + 200))


@pytest.fixture
def desk(tmp_path: Path, data: PreparedData) -> Desk:
    return Desk(tmp_path, later(data))


@pytest.fixture
def dist() -> np.ndarray:
    """Distances [R, N] in catalogue order with many ties, as of duplicate titles."""
    return np.random.default_rng(1).integers(0, 9, (N_ROWS, N_ITEMS)).astype(np.float32)


def expected_lists(dist: np.ndarray, data: PreparedData, length: int) -> list[list[int]]:
    """One sort of Python: by distance, then popularity, then token."""
    count = Counter(data.train.target.tolist())
    return [
        sorted(
            range(1, N_ITEMS + 1),
            key=lambda i, row=row: (row[i - 1], -count[i], data.item_tokens[i - 1]),
        )[:length]
        for row in dist.tolist()
    ]
