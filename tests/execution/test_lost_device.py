"""A trial whose CUDA error ends all use of the device by its process; there need be no GPU."""

from pathlib import Path

import pytest

from bench.config.grid import Grid, resolve
from bench.config.selection import Selection
from bench.errors import DeviceLost
from bench.execution import runner
from bench.execution.run import run_grid
from bench.paths import Workspace
from bench.records.record import Record
from bench.records.store import ResultStore
from bench.registry import METHODS

from ..listening import listening

PLUGIN = '''
import pathlib
from torch import Tensor
from bench.execution import runner
from bench.registry import register_method
from bench.distillation import Batch, Method, Output

@register_method("breaks-once")
class Breaks(Method):
    """The first trial of it breaks the device, for the process that runs it."""
    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        try:
            pathlib.Path({flag!r}).unlink()
        except FileNotFoundError:
            return {{"small": 0.1 * output.hidden.pow(2).mean()}}
        runner.still_works = lambda device: False
        raise RuntimeError("CUDA error: device-side assert triggered")
'''


@pytest.fixture
def grid(tiny: Workspace, tmp_path: Path) -> Grid:
    """Three trials, of which the one that starts first breaks the device."""
    flag, path = tmp_path / "break-one", tmp_path / "breaks-once.py"
    flag.touch()
    path.write_text(PLUGIN.format(flag=str(flag)))
    METHODS.add_plugin(path)
    fields = {"methods": ["breaks-once"], "datasets": ["tiny"], "students": ["tiny"]}
    return resolve(Selection.model_validate({**fields, "teachers": [], "seeds": "0-2"}), tiny)


def run(grid: Grid, tiny: Workspace, jobs: int, lines: list[str]) -> list[Record]:
    store, options = ResultStore(tiny.results), {"device": "cpu", "threads": 1, "jobs": jobs}
    with listening(lines.append):
        return run_grid(grid, store, tiny, **options)


def test_it_ends_the_run_and_the_same_command_goes_on(
    grid: Grid, tiny: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as process:
        process.setattr(runner, "still_works", runner.still_works)  # as it is in a new process
        with pytest.raises(DeviceLost, match=r"seed 0.* can no longer use .* The same command"):
            run(grid, tiny, 1, [])
    (failure,) = [r for r in ResultStore(tiny.results).records() if r.kind == "trial"]
    assert failure.status == "error"
    assert failure.error is not None and "device-side assert" in failure.error
    found = run(grid, tiny, 1, [])
    assert [record.status for record in found] == ["error", "done", "done"]
    assert found[0] == failure


def test_it_ends_one_worker_and_the_others_go_on(grid: Grid, tiny: Workspace) -> None:
    lines: list[str] = []
    found = run(grid, tiny, 2, lines)
    assert sorted(record.status for record in found) == ["done", "done", "error"]
    (lost,) = [line for line in lines if "is lost, no trial" in line]
    assert lost.endswith("no trial with it: it can no longer use its CUDA device")
