"""What long work says while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable

Progress = Callable[[str], None]
"""Takes one line of text at a time."""


class TimeLeft:
    """Says how long the rest of some equal steps will take."""

    def __init__(self, steps: int) -> None:
        self.steps, self.done, self.started = steps, 0, time.monotonic()

    def step(self) -> str:
        """Count one more; `at most 12 s left`."""
        self.done += 1
        mean = (time.monotonic() - self.started) / self.done
        return f"at most {max(0, self.steps - self.done) * mean:.0f} s left"
