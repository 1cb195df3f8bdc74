"""A moment by which a worker must have ended, such as the wall time of its allocation."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from statistics import median

from bench.errors import ConfigError
from bench.execution import stopping
from bench.limits import whole_number
from bench.plan import Trial
from bench.records.store import ResultStore

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
LONGEST = 10**6
"""Of each unit; what is longer is no duration."""

_DURATION = re.compile(r"(?:\d+[dhms])+")


def seconds_of(text: str) -> int:
    """Seconds of a duration such as `55m` or `1h30m`.

    Raises:
        ConfigError: not of that form. A bare number is none: schedulers read one as minutes.
    """
    parts = re.findall(r"(\d+)([dhms])", text) if _DURATION.fullmatch(text) else []
    seconds = sum((whole_number(count, LONGEST) or 0) * _UNITS[unit] for count, unit in parts)
    if not seconds:
        raise ConfigError(f"'{text}' is no duration: write such as 90s, 55m, 2h or 1h30m")
    return seconds


class Until:
    """Says which trials are expected to end in time, from the records of similar ones.

    When the moment comes, the trial under way ends with its epoch and keeps its state.
    """

    def __init__(self, seconds: float, store: ResultStore) -> None:
        """The moment in `seconds`, for a worker whose records go to `store`."""
        self._seconds, self._end = seconds, time.monotonic() + seconds
        self._store = store
        self._known: dict[str, float] = {}
        stopping.request_at(self._end)

    def within(self, trials: Sequence[Trial]) -> Callable[[Trial], bool]:
        """A function that says whether one of `trials` may start, of what is known of the others.

        It may if nothing is known of its length, or it is short enough. One that would fit in no
        worker's time starts in any: its state is kept, and the next worker goes on from there.
        """

        def allows(trial: Trial) -> bool:
            expected = self._expected(trial, trials)
            if expected is None or self._store.state_file(trial.key).exists():
                return True
            return expected <= self._end - time.monotonic() or expected > self._seconds

        return allows

    def _expected(self, trial: Trial, others: Sequence[Trial]) -> float | None:
        """Median seconds of the same method on the same data and student, or of the longest."""
        setting = [other for other in others if _setting(other) == _setting(trial)]
        same = self._durations(one for one in setting if one.method_name == trial.method_name)
        if same:
            return median(same)
        return max(self._durations(setting), default=None)

    def _durations(self, trials: Iterable[Trial]) -> list[float]:
        found = []
        for trial in trials:
            if trial.key not in self._known and (record := self._store.get(trial.key)):
                self._known[trial.key] = record.timings.get("total_seconds") or 0.0
            found.append(self._known.get(trial.key, 0.0))
        return [seconds for seconds in found if seconds]


def _setting(trial: Trial) -> tuple[str, ...]:
    return trial.dataset, trial.protocol, trial.student, trial.training.objective
