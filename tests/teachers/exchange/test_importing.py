"""What makes no teacher is refused, and leaves what was there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.errors import ArtifactError, ConfigError
from bench.paths import Workspace
from bench.teachers.contract import check
from bench.teachers.exchange.files import Request
from bench.teachers.exchange.importing import import_teacher
from bench.teachers.manifest import read_manifest

from ..conftest import N_ITEMS, N_ROWS, Folder
from .conftest import Desk


def test_a_failed_replacement_leaves_the_old_one(desk: Desk, folder: Folder) -> None:
    folder.path = desk.foreign
    desk.bring(folder.published())
    before = read_manifest(desk.folder)
    with pytest.raises(ConfigError, match="there already"):
        desk.bring()
    folder.embeddings[0] = np.inf
    folder.published()
    with pytest.raises(ArtifactError, match="infinite"):
        desk.bring(force=True)
    assert read_manifest(desk.folder) == before
    assert check(desk.folder, desk.data).problems == []


def test_the_suites_own_layout_is_not_imported(desk: Desk, folder: Folder) -> None:
    folder.path = desk.foreign
    folder.binary()
    assert "own layout already" in desk.refused(kind=ConfigError)


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ({}, {}, "no file that is known"),
        ({"vectors.npy": np.ones((2, 2))}, {}, "no file that is known"),
        ({"covered.npy": np.ones(3)}, {}, "covered.npy: no file is 'rankings'"),
        ({"distances.npy": np.ones((2, 2))}, {}, "no file is 'rankings'"),
        (
            {"rankings.npy": np.ones((2, 2)), "dist.npy": np.ones((2, 2))},
            {},
            "rankings and dist were given",
        ),
        ({"embeddings.npy": np.ones((N_ITEMS, 2))}, {"list_length": 3}, "--list-length concerns"),
        ({"embeddings.npy": np.ones((N_ITEMS, 2))}, {"value": "score"}, "--value concerns none"),
        ({"embeddings.npy": np.ones((N_ITEMS, 2), dtype=int)}, {}, "holds int64, floats expected"),
        ({"dist.npy": np.ones((N_ROWS, 4))}, {}, "4 values a row, and there are 30 items"),
        ({"rankings.npy": np.full((N_ROWS, 2), 0.5)}, {}, "holds values that are no item ids"),
        (
            {"rankings.npy": np.ones((N_ROWS, 2)), "covered.npy": np.zeros(N_ROWS, dtype=bool)},
            {},
            "covered.npy covers no row",
        ),
        (
            {"rankings.npy": np.ones((N_ROWS, 2)), "covered.npy": np.ones(60, dtype=bool)},
            {},
            "covered.npy has shape (60,), expected [240]; as many as valid has",
        ),
        (
            {
                "rankings.npy": np.tile([0, 1], (N_ROWS, 1)),
                "truth_distance.npy": np.ones((N_ROWS, 2)),
            },
            {"id_base": 0},
            "truth_distance.npy has shape (240, 2), expected [240]",
        ),
        ({"rankings.npy": np.array([{}])}, {}, "no plain .npy array"),
    ],
)
def test_files_that_make_no_teacher(
    files: dict[str, np.ndarray], options: dict[str, Any], message: str, desk: Desk
) -> None:
    for name, array in files.items():
        np.save(desk.foreign / name, array, allow_pickle=True)
    assert message in desk.refused(**options)


@pytest.mark.parametrize(
    ("name", "message"),
    [("published", "bare files"), ("text", "a configured teacher"), ("../x", "cannot be the name")],
)
def test_names_that_are_taken(name: str, message: str, desk: Desk) -> None:
    with pytest.raises(ConfigError, match=message):
        import_teacher(
            name, Request([]), desk.data, Workspace(desk.home), desk.folder, lambda line: None
        )
