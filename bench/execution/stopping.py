"""A clean end of a process that is told to end: its trial's state is kept, its claim let go.

Schedulers send a signal some time before they kill. The trial under way then ends with its epoch;
one whose epochs are longer than the grace is let go of in the middle of one.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from typing import Any

from bench.errors import Terminated

GRACE_SECONDS = 5.0
"""How long the epoch under way may last on."""

SIGNALS = ("SIGTERM", "SIGUSR1", "SIGUSR2")
"""What Slurm, LSF, PBS, HTCondor, Kubernetes and submitit send."""

_requested = False
_end: float | None = None


class Stopped(Terminated):
    """The process was told to end, and does."""


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """End cleanly on any of `SIGNALS`: the work of this process checks `requested` now and then."""
    global _requested, _end
    handlers = {name: _request for name in SIGNALS} | {"SIGALRM": _unwind}
    # Windows has one of them.
    known = {
        getattr(signal, name): handler
        for name, handler in handlers.items()
        if hasattr(signal, name)
    }
    before = {number: signal.signal(number, handler) for number, handler in known.items()}
    try:
        yield
    finally:
        _requested, _end = False, None
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def request_at(moment: float) -> None:
    """Let `requested` be true from a moment on, as `time.monotonic` tells it."""
    global _end
    _end = moment


def requested() -> bool:
    """Whether this process has been told to end, or its time is over."""
    return _requested or (_end is not None and time.monotonic() >= _end)


def check() -> None:
    """Leave off here, if this process has been told to end.

    Raises:
        Stopped: it has been, or its time is over.
    """
    if requested():
        _settle()
        raise Stopped(0)


def _settle() -> None:
    """Be disturbed by no further signal: the process ends anyway."""
    for name in (*SIGNALS, "SIGALRM"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _request(*_: Any) -> None:
    global _requested
    if not _requested and hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS)
    _requested = True


def _unwind(*_: Any) -> None:
    _settle()
    raise Stopped(0)
