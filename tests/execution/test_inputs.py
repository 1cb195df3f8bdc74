"""What is read once for many trials, and read again when it may have changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.config.grid import Grid, resolve
from bench.config.selection import Selection
from bench.execution import inputs as module
from bench.execution.compatibility import check_teachers
from bench.execution.inputs import Inputs, identify
from bench.paths import Workspace
from bench.teachers.manifest import TeacherManifest, read_manifest

METHODS = ["embedding-only", "ranking-only"]


@pytest.fixture
def grid(tiny: Workspace, tiny_teacher: Path) -> Grid:
    selection = Selection(
        methods=METHODS, datasets=["tiny"], students=["tiny"], teachers=["published"], seeds="0-2"
    )
    return resolve(selection, tiny)


def test_the_files_of_a_teacher_are_hashed_once_for_all_trials(
    tiny: Workspace, grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = [trial for trial in identify(grid, tiny) if trial is not None]
    asked: list[Path] = []

    def counted(folder: Path) -> TeacherManifest:
        asked.append(folder)
        return read_manifest(folder)

    monkeypatch.setattr(module, "read_manifest", counted)
    check_teachers(trials, Inputs(grid, tiny))
    assert len(trials) == 6
    assert asked == [tiny.tocf / "tiny"]


def test_what_teachers_say_is_read_again_after_they_may_have_been_built(
    tiny: Workspace, tiny_teacher: Path, grid: Grid
) -> None:
    inputs = Inputs(grid, tiny)
    (name,) = grid.teachers
    before, known = inputs.manifest(name), inputs.knowledge(name)
    path = tiny_teacher / "confidence_train.txt"
    np.savetxt(path, np.loadtxt(path) + 1, fmt="%.6f")
    assert inputs.manifest(name) is before
    inputs.build_teachers([name], "cpu")
    assert inputs.manifest(name).fingerprint != before.fingerprint
    fresh = inputs.knowledge(name).distances
    assert fresh is not None and known.distances is not None
    assert float((fresh - known.distances).min()) == pytest.approx(1, abs=1e-4)
