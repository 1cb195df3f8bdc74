"""A trial that is killed again and again ends as if it had not been."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli.main import main
from bench.paths import Workspace
from bench.records.record import Record
from bench.records.store import ResultStore

from ..forked import Forked

RUN = ["run", "-d", "tiny", "-s", "tiny", "-m", "embedding-only", "-t", "published", "--seeds", "0"]
RUN += ["--device", "cpu", "--threads", "1"]


def record(folder: Path) -> Record | None:
    done = [one for one in ResultStore(folder).records() if one.kind == "trial"]
    return done[0] if done else None


def epochs_kept(folder: Path) -> int:
    """How often the state has been replaced so far, as far as is seen."""
    with contextlib.suppress(OSError):
        return max((p.stat().st_mtime_ns for p in (folder / ".states").glob("*")), default=0)
    return 0


@pytest.mark.parametrize("kills", [3, pytest.param(40, marks=pytest.mark.engine)])
@pytest.mark.usefixtures("tiny_teacher")
def test_killed_at_random_epochs_it_ends_with_the_same_bits(
    tiny: Workspace, tmp_path: Path, kills: int
) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    epochs = 100 + 3 * kills
    long = [f"training.max_epochs={epochs}", f"training.min_epochs={epochs}"]
    run = [*RUN, "--set", long[0], "--set", long[1]]
    done = CliRunner().invoke(main, [*run, "--results", str(whole)])
    assert done.exit_code == 0, done.output
    said = tmp_path / "said"
    draw = random.Random(kills)  # noqa: S311
    killed = 0
    while killed < kills:
        child = Forked(*run, "--results", str(folder), stderr=said, BENCH_STATE_SECONDS="0")
        # A state or a few later than the last one, at whatever the process is at then.
        seen, states, wanted = epochs_kept(folder), 0, draw.randint(1, max(1, epochs // 2 // kills))
        while states < wanted and child.poll() is None:
            if epochs_kept(folder) != seen:
                seen, states = epochs_kept(folder), states + 1
            time.sleep(0.001)
        assert states == wanted, said.read_text()
        time.sleep(draw.uniform(0, 0.05))
        child.send(signal.SIGKILL)
        child.wait()
        killed += 1
        if record(folder) is not None:
            break
    done = CliRunner().invoke(main, [*run, "--results", str(folder)])
    assert done.exit_code == 0, done.output
    one, other = record(whole), record(folder)
    assert killed == kills
    assert one is not None and other is not None and one.key == other.key
    assert (one.metrics, one.best_epoch, one.steps) == (
        other.metrics,
        other.best_epoch,
        other.steps,
    )
    for name in ("ranks.npy", "student.safetensors"):
        assert (whole / one.key / name).read_bytes() == (folder / one.key / name).read_bytes()
    left = {path.name for path in folder.iterdir()} - {path.name for path in whole.iterdir()}
    assert not left, "no state, claim or half record is left"
    assert [*(folder / ".claims").iterdir()] == []
