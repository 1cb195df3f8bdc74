"""Vectors of histories: exported where they are asked for, imported, and checked."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.data.examples import PreparedData
from bench.teachers.knowledge import load_knowledge
from bench.teachers.manifest import read_manifest
from bench.teachers.registry import KINDS

from .conftest import N_ROWS, WIDTH, Folder
from .exchange.conftest import Desk, later

SMALL = {"width": 16, "heads": 2, "batch_size": 32, "list_length": 8, "epochs": 2}


@pytest.mark.parametrize("kind", ["text", "learn"])
def test_a_teacher_of_towers_exports_the_queries_that_its_lists_are_near_to(
    kind: str, tiny_encoder: Path, data: PreparedData, ensure: Callable[..., Path]
) -> None:
    raw: dict[str, Any] = {"kind": kind, "options": {**SMALL, "encoder": str(tiny_encoder)}}
    plain = ensure("plain", raw, data)
    raw["options"]["histories"] = True
    both = ensure("both", raw, data)

    entry = KINDS.get(kind)
    assert set(read_manifest(plain).signals) == entry.offers({}) == entry.signals
    assert set(read_manifest(both).signals) == entry.offers(raw["options"])
    before, after = read_manifest(plain).files, read_manifest(both).files
    assert after.keys() - before.keys() == {"histories.npy"}
    assert {name: after[name] for name in before} == before  # all else is bit-equal

    knowledge = load_knowledge(both, data)
    histories, items = knowledge.histories.numpy(), knowledge.embeddings.numpy()
    assert histories.dtype == np.float32
    assert histories.shape == (len(data.train), items.shape[1])
    listed = items[knowledge.rankings.numpy()]
    distances = np.linalg.norm(histories[:, None] - listed, axis=2)
    np.testing.assert_allclose(distances, knowledge.distances.numpy(), atol=1e-4)


def test_without_them_nothing_changes(folder: Folder, data: PreparedData) -> None:
    knowledge = load_knowledge(folder.binary(), data)
    assert knowledge.histories is None


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(4).normal(size=(N_ROWS, WIDTH)).astype(np.float32)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a: a[:-1], "histories.npy has 239 rows, the training split of toy .* has 240"),
        (lambda a: a[:, 0], r"histories.npy has shape \(240,\), expected \[240, D\]"),
        (lambda a: a[:, :0], r"truncated|histories.npy has shape \(240, 0\), expected"),
        (lambda a: a.astype(int), "histories.npy holds int64, floats expected"),
        (lambda a: np.where(np.arange(240)[:, None] == 7, np.nan, a), r"\(first in row 7\)"),
    ],
)
def test_broken_vectors(
    spoil: Callable[[np.ndarray], np.ndarray],
    message: str,
    folder: Folder,
    data: PreparedData,
    vectors: np.ndarray,
) -> None:
    path = folder.binary(signals=["histories"])
    np.save(path / "histories.npy", spoil(vectors))
    assert re.search(message, folder.only_problem(path, data))


@pytest.mark.parametrize("half", [False, True])
def test_import(desk: Desk, vectors: np.ndarray, half: bool) -> None:
    covered = np.arange(N_ROWS) % 5 > 0
    given = np.where(covered[:, None], vectors, np.nan).astype("float16" if half else "float32")
    np.save(desk.foreign / "histories.npy", given)
    np.save(desk.foreign / "covered.npy", covered)
    report = desk.bring()
    assert any(line.startswith(f"histories [{N_ROWS}, {WIDTH}]") for line in report)
    assert read_manifest(desk.folder).signals == ["histories"]
    knowledge = desk.knowledge()
    np.testing.assert_array_equal(knowledge.histories[covered].numpy(), given[covered])
    assert not knowledge.histories[~covered].any()


def test_an_import_for_other_examples_is_refused(desk: Desk, vectors: np.ndarray) -> None:
    np.save(desk.foreign / "histories.npy", vectors[:60])
    assert "has shape (60, 6), expected [240, D]; as many as valid has" in desk.refused()


@pytest.fixture
def desk(tmp_path: Path, data: PreparedData) -> Desk:
    return Desk(tmp_path, later(data))
