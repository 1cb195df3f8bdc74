"""Builds in processes that are killed, and what they leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.paths import SHIPPED, Workspace
from bench.teachers.language.resume import SHARDS
from bench.teachers.language.tuning import STATE


def kill_when(
    arguments: Sequence[str], workspace: Workspace, is_reached: Callable[[Path], bool]
) -> None:
    """Run `bench` in another process, and kill it when something is in the cache."""
    command = [sys.executable, "-m", "bench", *arguments]
    environment = {**os.environ, "BENCH_HOME": str(workspace.home), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(  # noqa: S603
        command, cwd=SHIPPED, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        while process.poll() is None:
            if is_reached(workspace.tocf / ".cache"):
                os.kill(process.pid, signal.SIGKILL)
                break
            time.sleep(0.01)
        process.wait()
        assert process.returncode == -signal.SIGKILL, process.stderr.read()


def is_tuning(cache: Path) -> bool:
    """Whether a tuning has kept a state."""
    return any(cache.glob(f"adapter-*/{STATE}"))


def is_writing(cache: Path) -> bool:
    """Whether two batches of titles are written."""
    return any(s.read_bytes().count(b"\n") >= 2 for s in cache.glob(f"titles-*/{SHARDS}"))


def assert_same_bytes(folder: Path, other: Path) -> None:
    """Two teachers are the same, file by file."""
    names = sorted(path.name for path in other.iterdir())
    assert sorted(path.name for path in folder.iterdir()) == names
    for name in names:
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name
