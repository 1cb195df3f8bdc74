"""A clean end of a process that is told to end: its trial's state is kept, its claim let go.

Schedulers send a signal some time before they kill. The trial under way then ends with its epoch;
one whose epochs are longer than the grace is let go of in the middle of one.
"""

from __future__ import annotations

import signal
from typing import Any

from bench.errors import Terminated

GRACE_SECONDS = 5.0
"""How long the epoch under way may last on."""

SIGNALS = ("SIGTERM", "SIGUSR1", "SIGUSR2")
"""What Slurm, LSF, PBS, HTCondor, Kubernetes and submitit send."""

_requested = False


class Stopped(Terminated):
    """The process was told to end, and does."""


def listen() -> None:
    """End cleanly on any of `SIGNALS`; the work of this process checks `requested` now and then."""
    global _requested
    _requested = False
    for name in SIGNALS:
        if hasattr(signal, name):  # Windows has one of them
            signal.signal(getattr(signal, name), _request)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, _unwind)


def requested() -> bool:
    """Whether this process has been told to end."""
    return _requested


def check() -> None:
    """Leave off here, if this process has been told to end.

    Raises:
        Stopped: it has been.
    """
    if _requested:
        settle()
        raise Stopped(0)


def settle() -> None:
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
    settle()
    raise Stopped(0)
