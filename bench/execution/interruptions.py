"""What ends a process from outside, told apart from what a method raises."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from bench.errors import Interrupted, Terminated

Interrupts = tuple[type[BaseException], ...]
"""Exceptions that end the process and are no failure of a trial."""


@contextlib.contextmanager
def interruptions() -> Iterator[Interrupts]:
    """Within, Ctrl-C raises `Interrupted`; yields the exceptions that are no method's own.

    Where a program has a handler of its own for Ctrl-C, every `KeyboardInterrupt` is taken for one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield (Interrupted, Terminated)  # Ctrl-C is raised in the main thread alone
        return
    handler = signal.getsignal(signal.SIGINT)
    if handler is not signal.default_int_handler:
        yield (KeyboardInterrupt if callable(handler) else Interrupted, Terminated)
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield (Interrupted, Terminated)
    finally:
        signal.signal(signal.SIGINT, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted
