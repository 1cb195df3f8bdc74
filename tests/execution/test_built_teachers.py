"""A teacher that a run needs is built as the run asks, and what it tells is checked."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import BaseModel

from bench.config.grid import resolve
from bench.config.selection import Selection
from bench.data.examples import PreparedData
from bench.errors import ArtifactError
from bench.execution.run import run_grid
from bench.paths import Workspace
from bench.records.store import ResultStore
from bench.signals import TEST_RANKS
from bench.teachers.builder import Builder, Product
from bench.teachers.manifest import read_manifest
from bench.teachers.registry import KINDS


class Witness(Builder):
    """A kind that writes down where it was built."""

    class Options(BaseModel):
        """None."""

    @staticmethod
    def build(
        options: Any,
        data: PreparedData,
        cache: Path,
        device: str,
    ) -> Product:
        return Product(
            embeddings=np.ones((data.n_items, 2), dtype=np.float32),
            metrics={},
            test_ranks=np.ones(len(data.test), dtype=np.int32),
            recipe={"device": device, "threads": torch.get_num_threads()},
        )


KINDS.register("witness", Witness, signals={"embeddings"}, summary="", path=Path(__file__))


@pytest.fixture
def witness(tiny: Workspace) -> Path:
    """The folder in which a run builds the teacher `witness`."""
    configs = tiny.home / "configs" / "teachers"
    configs.mkdir(parents=True, exist_ok=True)
    (configs / "witness.yaml").write_text("kind: witness\n")
    return tiny.tocf / "tiny" / "witness"


def run(tiny: Workspace) -> None:
    axes = {"methods": ["embedding-only"], "datasets": ["tiny"], "students": ["tiny"]}
    grid = resolve(Selection.model_validate({**axes, "teachers": ["witness"]}), tiny)
    store = ResultStore(tiny.results)
    run_grid(grid, store, tiny, device="cpu", threads=1)


def test_device_and_threads_of_the_run_are_the_builders(tiny: Workspace, witness: Path) -> None:
    before = torch.get_num_threads()
    try:
        run(tiny)
    finally:
        torch.set_num_threads(before)
    recipe = read_manifest(witness).recipe
    assert (recipe["device"], recipe["threads"]) == ("cpu", 1)


def test_broken_ranks_are_refused_where_they_are_asked_for(tiny: Workspace, witness: Path) -> None:
    run(tiny)
    store = ResultStore(tiny.results)
    (witness / TEST_RANKS.file).write_bytes(b"rubbish")

    def lose(kind: str) -> None:
        for record in store.records():
            if record.kind == kind:
                shutil.rmtree(store.folder / record.key)

    lose("trial")
    run(tiny)  # training has no use for them
    assert {record.kind for record in store.records()} == {"trial", "reference"}
    lose("reference")
    with pytest.raises(ArtifactError, match=TEST_RANKS.file):
        run(tiny)
