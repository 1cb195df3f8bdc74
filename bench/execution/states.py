"""The state of a trial under way, on the disk, from which another process goes on.

It is written whole, and goes when the trial has its record. A trial of seconds never writes one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from bench.execution import stopping
from bench.records.store import ResultStore
from bench.training.state import State, read, write
from bench.variables import seconds_in

_logger = logging.getLogger(__name__)

INTERVAL = "BENCH_STATE_SECONDS"
"""Environment variable: seconds of training between two states, at least."""
SECONDS = 180.0
LAST_SHARE = 0.1
"""Share of the interval after which a process that is told to end keeps a state of its trial."""

_MADE_BY = ("bench", "packages", "machine", "threads", "device", "device_name", "instructions")
"""What of the environment decides the bits of a training."""


class TrialState:
    """Keeps the state of one trial (a `bench.training.state.Checkpoint`).

    A state that was made by another device, number of threads or version is not gone on from: the
    trial's bits would be those of neither.

    Args:
        store: where the trial's record will be.
        key: of the trial, which this process has claimed.
        environment: of the run, as its record keeps it.
    """

    def __init__(self, store: ResultStore, key: str, environment: Mapping[str, Any]) -> None:
        self._store, self._key = store, key
        self.path = store.state_file(key)
        self.facts = {name: environment.get(name) for name in _MADE_BY}
        self._interval = seconds_in(INTERVAL, SECONDS, zero=True)
        self._written = time.monotonic()
        self._works = True

    def load(self) -> State | None:
        """See `bench.training.state.Checkpoint`."""
        try:
            state, facts = read(self.path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError) as error:
            _logger.warning(f"its state cannot be read ({error}): begins again")
            return None
        if facts != self.facts:
            other = sorted(name for name in _MADE_BY if facts.get(name) != self.facts[name])
            _logger.info(f"its state is of another {', '.join(other)}: begins again")
            return None
        _logger.info(f"goes on after epoch {len(state['curve'])}, {state['seconds']:.0f} s")
        return state

    def offer(self, state: Callable[[], State]) -> None:
        """See `bench.training.state.Checkpoint`.

        Raises:
            Stopped: the process has been told to end.
        """
        wait = self._interval * (LAST_SHARE if stopping.requested() else 1.0)
        if self._works and time.monotonic() - self._written >= wait:
            self._write(state)
        stopping.check()

    def _write(self, state: Callable[[], State]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write(self.path, state(), self.facts)
        except (OSError, TypeError) as error:  # the trial itself needs no state
            _logger.warning(f"its state cannot be kept ({error}): interrupted, it begins again")
            self._works = isinstance(error, OSError)  # the disk may have room the next time
        self._written = time.monotonic()

    def remove(self) -> None:
        """The trial has its record."""
        self._store.remove_state(self._key)
