"""A worker as a process of the machine that this code runs on; every executor ends up with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping

from bench.execution.worker import WITHOUT_DEVICE
from bench.executors.interface import Ended
from bench.paths import SHIPPED

GRACE_SECONDS = 10.0
"""How long a worker that is told to end may take to let go of its trial."""


def python_path() -> str:
    """`PYTHONPATH` under which another process imports this suite."""
    return os.pathsep.join(filter(None, (str(SHIPPED), os.environ.get("PYTHONPATH", ""))))


class WorkerProcess:
    """One worker.

    It ends when this process does, however that is: the worker notices the end of its stdin.

    Args:
        job: a `bench.execution.worker.Job` as JSON.
        environment: variables that the worker has beside those of this process.
        output: where it prints: a pipe, read by `lines`, or None, where this process prints.
    """

    def __init__(
        self,
        job: str,
        environment: Mapping[str, str] | None = None,
        output: int | None = subprocess.PIPE,
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.execution.worker"],
            env={**os.environ, "PYTHONPATH": python_path(), **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # a terminal sends Ctrl-C to its own; this process answers it
        )
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._stdin = self._process.stdin
        with contextlib.suppress(OSError):  # it ended, which is found out later
            self._stdin.write(f"{job}\n")
            self._stdin.flush()  # and stays open: its end tells the worker that nobody waits

    def lines(self) -> Iterator[str]:
        """What it prints, until it ends."""
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        for line in self._process.stdout:
            yield line.rstrip("\n")

    def wait(self) -> int:
        """Its exit status, negative for a signal, when it has ended."""
        return self._process.wait()

    def tell_to_end(self) -> None:
        self._process.terminate()

    def close(self) -> None:
        """Return when the process is gone; call `tell_to_end` before."""
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(OSError):
            self._stdin.close()


def ended(worker: str, status: int) -> Ended:
    """What an exit status says of a worker."""
    if status == 0:
        return Ended(worker)
    if status == WITHOUT_DEVICE:
        return Ended(worker, "it can no longer use its CUDA device", blames=True)
    what = signal.Signals(-status).name if status < 0 else str(status)
    why = f"its worker ended with {what}"
    if status == -signal.SIGKILL:
        why += ", as when memory does not suffice for so many workers"
    return Ended(worker, why, blames=True)
