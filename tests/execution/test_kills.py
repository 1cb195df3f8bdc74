"""A trial that is killed again and again ends as if it had not been."""

from __future__ import annotations

import contextlib
import os
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

LONG = ["--set", "training.max_epochs=200", "--set", "training.min_epochs=200"]
RUN = ["run", "-d", "tiny", "-s", "tiny", "-m", "embedding-only", "-t", "published", "--seeds", "0"]
RUN += ["--device", "cpu", "--threads", "1", *LONG]


def record(folder: Path) -> Record | None:
    done = [one for one in ResultStore(folder).records() if one.kind == "trial"]
    return done[0] if done else None


def attempt(folder: Path) -> int:
    """A process of its own that runs the command; forked, which saves the imports."""
    child = os.fork()
    if child == 0:
        os.environ["BENCH_STATE_SECONDS"] = "0"
        with contextlib.suppress(BaseException):
            os.setsid()
            main([*RUN, "--results", str(folder)], standalone_mode=False)
        os._exit(0)
    return child


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
    done = CliRunner().invoke(main, [*RUN, "--results", str(whole)])
    assert done.exit_code == 0, done.output
    draw = random.Random(kills)  # noqa: S311
    killed = 0
    while killed < kills:
        child = attempt(folder)
        # A state or a few later than the last one, at whatever the process is at then.
        seen, states, wanted = epochs_kept(folder), 0, draw.randint(1, max(1, 100 // kills))
        while states < wanted and os.waitpid(child, os.WNOHANG) == (0, 0):
            if epochs_kept(folder) != seen:
                seen, states = epochs_kept(folder), states + 1
            time.sleep(0.001)
        assert states == wanted, "it ended before it was killed"
        time.sleep(draw.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        killed += 1
        if record(folder) is not None:
            break
    os.waitpid(attempt(folder), 0)
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
