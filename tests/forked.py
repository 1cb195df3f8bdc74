"""`bench` in a process of its own that is forked from this one, which saves the imports."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from pathlib import Path

from bench.cli.main import main


class Forked:
    """`bench` with some arguments, at the head of a session as a terminal gives each command.

    Args:
        arguments: of the command line.
        stderr: a file that takes what it says there; what it prints is dropped.
        variables: of its environment, beside those of this process.
    """

    def __init__(self, *arguments: str, stderr: Path, **variables: str) -> None:
        self._stderr, self._status = stderr, None
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                status = _bench(arguments, stderr, variables)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)

    _status: int | None

    @property
    def stderr(self) -> str:
        return self._stderr.read_text() if self._stderr.exists() else ""

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def wait(self, seconds: float = 120) -> int:
        """Its exit status when it has ended."""
        deadline = time.monotonic() + seconds
        while (status := self.poll()) is None:
            assert time.monotonic() < deadline, self.stderr
            time.sleep(0.02)
        return status

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)


def _bench(arguments: tuple[str, ...], stderr: Path, variables: dict[str, str]) -> int:
    os.setsid()
    os.environ.update(variables)
    for stream, path in ((1, Path(os.devnull)), (2, stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1) for stream in (1, 2))
    try:
        main(list(arguments))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
