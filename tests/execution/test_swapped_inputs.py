"""A trial is trained on what its key names: what was replaced since then gives no record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.config.grid import Grid, resolve
from bench.config.selection import Selection
from bench.data.sources import importing
from bench.errors import InputsChanged
from bench.execution import run as execution
from bench.execution.inputs import Inputs, identify
from bench.execution.references import write_missing
from bench.execution.run import run_grid
from bench.paths import Workspace
from bench.records.store import ResultStore

from ..listening import listening


def grid_of(tiny: Workspace, *methods: str) -> Grid:
    selection = Selection(
        methods=methods or ["ranking-only", "none"],
        datasets=["tiny"],
        students=["tiny"],
        teachers=["published"],
        seeds="0-1",
    )
    return resolve(selection, tiny)


def swap_teacher(tiny: Workspace) -> None:
    path = tiny.tocf / "tiny" / "confidence_train.txt"
    np.savetxt(path, np.loadtxt(path) + 1, fmt="%.6f")


def swap_data(tiny: Workspace) -> None:
    table = tiny.home / "interactions.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-8]) + "\n")
    importing.store("tiny", importing.read(importing.Tables(table, None)), tiny, force=True)


def trials(store: ResultStore) -> list[str]:
    return sorted(r.trial.method for r in store.records() if r.trial is not None)


@pytest.mark.usefixtures("tiny_teacher")
@pytest.mark.parametrize(
    ("swap", "left", "jobs"),
    [(swap_teacher, ["none", "none"], 1), (swap_teacher, ["none", "none"], 2), (swap_data, [], 1)],
    ids=["teacher", "teacher, in workers", "data"],
)
def test_what_is_swapped_between_planning_and_training_keeps_no_record(
    tiny: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    swap: Callable[[Workspace], None],
    left: list[str],
    jobs: int,
) -> None:
    def swap_then(*arguments: object) -> None:
        write_missing(*arguments)  # type: ignore[arg-type]
        swap(tiny)
        arguments[2].release()  # type: ignore[attr-defined]

    monkeypatch.setattr(execution.references, "write_missing", swap_then)
    store = ResultStore(tiny.results)
    with pytest.raises(InputsChanged, match=r"planned for .*given again") as caught:
        run_grid(grid_of(tiny), store, tiny, device="cpu", threads=1, jobs=jobs)
    assert len(str(caught.value).splitlines()) == 1
    assert trials(store) == left
    monkeypatch.undo()
    monkeypatch.setenv("BENCH_HOME", str(tiny.home))
    found = run_grid(grid_of(tiny, "none"), store, tiny, device="cpu", threads=1)
    assert [record.status for record in found if record.trial] == ["done"] * 2


def test_what_is_loaded_already_is_what_the_key_names(tiny: Workspace, tiny_teacher: Path) -> None:
    """Files that are replaced while a process trains on them are none of its business."""

    def hear(line: str) -> None:
        if "ranking-only (published) seed 0: starts" in line:
            swap_teacher(tiny)

    plain = run_grid(grid_of(tiny), ResultStore(tiny.home / "plain"), tiny, device="cpu", threads=1)
    with listening(hear):
        swapped = run_grid(grid_of(tiny), ResultStore(tiny.results), tiny, device="cpu", threads=1)
    assert [(r.key, r.metrics) for r in swapped] == [(r.key, r.metrics) for r in plain]


def test_a_teacher_that_is_broken_by_then_keeps_no_record(
    tiny: Workspace, tiny_teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = Inputs.of

    def broken(inputs: Inputs, trial: object) -> object:
        (tiny_teacher / "myrank_train.txt").write_text("1 2\n")
        inputs.release()
        return of(inputs, trial)  # type: ignore[arg-type]

    monkeypatch.setattr(Inputs, "of", broken)
    store = ResultStore(tiny.results)
    with pytest.raises(InputsChanged, match="not usable teacher knowledge"):
        run_grid(grid_of(tiny), store, tiny, device="cpu", threads=1)
    assert trials(store) == ["none", "none"]


def test_a_reference_of_data_that_were_replaced_keeps_no_record(
    tiny: Workspace, tiny_teacher: Path
) -> None:
    grid, store = grid_of(tiny), ResultStore(tiny.results)
    Inputs(grid, tiny).prepare_data()
    planned = [trial for trial in identify(grid, tiny) if trial is not None]
    swap_data(tiny)
    with pytest.raises(InputsChanged, match="data of 'tiny'"):
        write_missing(planned, store, Inputs(grid, tiny))
    assert store.records() == []
