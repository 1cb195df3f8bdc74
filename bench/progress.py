"""Progress of long work: whose line a log line is, and how far a loop has come.

Work reports through `logging`: at INFO what happens, at DEBUG what a bar shows as well. Whoever
shows it (the command line, a notebook) decides how. Loops report through `track`: a display that
the caller installed draws a bar, else log lines tell.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Protocol

_logger = logging.getLogger(__name__)

REPORT_SECONDS = 10.0
"""How often a loop without a display reports, at most."""

Advance = Callable[[int], None]
"""Counts finished steps of a loop."""

logging.getLogger("bench").setLevel(logging.DEBUG)  # what shows the lines decides which

_task: ContextVar[str] = ContextVar("task", default="")


@contextlib.contextmanager
def task(name: str) -> Iterator[None]:
    """Log lines from within are about `name`; names nest."""
    token = _task.set(f"{_task.get()}{name}: ")
    try:
        yield
    finally:
        _task.reset(token)


class TaskFormatter(logging.Formatter):
    """Puts the names of the tasks at work before a message."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{_task.get()}{super().format(record)}"


@contextlib.contextmanager
def recorded() -> Iterator[list[dict[str, Any]]]:
    """All log lines of the suite from within, each with the seconds since the start."""
    handler = _Recorder()
    suite = logging.getLogger("bench")
    suite.addHandler(handler)
    try:
        yield handler.lines
    finally:
        suite.removeHandler(handler)


class _Recorder(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.started = time.perf_counter()
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        seconds = round(time.perf_counter() - self.started, 3)
        self.lines.append({"seconds": seconds, "message": record.getMessage()})


class Display(Protocol):
    """Draws loops while they run, for instance as bars on a terminal."""

    def loop(
        self, description: str, total: int | None, unit: str
    ) -> contextlib.AbstractContextManager[Advance]:
        """Show one loop until the context ends; `total` is None where nobody can tell."""


_display: Display | None = None


def install(display: Display | None) -> Display | None:
    """Let `display` draw all loops from now on; None goes back to log lines.

    Returns:
        What drew them before.
    """
    global _display
    before, _display = _display, display
    return before


def has_display() -> bool:
    """Whether loops are drawn."""
    return _display is not None


@contextlib.contextmanager
def track(
    description: str, total: int | None, unit: str = "", *, logged: bool = True
) -> Iterator[Advance]:
    """Show how far a loop has come and how long the rest will take.

    Args:
        description: what is done, such as `encoding texts`; "" for the task that is at work.
        total: number of steps; None where nobody can tell, which is not logged.
        unit: name of the steps, such as `rows`.
        logged: where no display is installed, log now and then; False where what happens within
            is logged anyway.

    Yields:
        A function that counts n more finished steps.
    """
    loop: contextlib.AbstractContextManager[Advance]
    if _display is not None and total != 0:
        loop = _display.loop(f"{_task.get()}{description}", total, unit)
    elif logged and total:
        loop = _logged(description, total, unit)
    else:
        loop = contextlib.nullcontext(lambda steps: None)
    with loop as advance:
        yield advance


@contextlib.contextmanager
def _logged(description: str, total: int, unit: str) -> Iterator[Advance]:
    started = reported = time.monotonic()
    done = 0

    def report(duration: str) -> None:
        amount = f"{done:,} of {total:,} {unit}".rstrip()
        _logger.info(f"{description}: {amount}, {duration}")

    def advance(steps: int) -> None:
        nonlocal done, reported
        done += steps
        now = time.monotonic()
        if now - reported >= REPORT_SECONDS and 0 < done < total:
            reported = now
            report(f"about {(now - started) / done * (total - done):.0f} s left")

    yield advance
    report(f"{time.monotonic() - started:.0f} s")
