"""What a results folder is being filled with: planned, running, done, failed, and how long still.

A run leaves word of its trials in the folder (`announce`). Which of them run is told by their
claims, which die with their holders; what has become of the others, by their records. Whoever
looks on takes no claim and writes nothing.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import limits, locks
from bench.errors import BenchError
from bench.files import write_whole
from bench.plan import Trial, digest
from bench.records.store import CLAIMS, PLANS, RECORD, ResultStore


def announce(store: ResultStore, trials: Sequence[Trial]) -> None:
    """Leave word of trials that are to have records; that of plans that are complete goes.

    It is for people who look on: a folder that cannot be written to fails elsewhere.
    """
    folder = store.folder / PLANS
    lines = [{"key": trial.key, "label": trial.label, "like": _like(trial)} for trial in trials]
    name = digest(sorted(trial.key for trial in trials))[:16]
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        for path, planned in _plans(store.folder):
            if all(store.get(each.key) is not None for each in planned):
                path.unlink(missing_ok=True)
        write_whole(folder / f"{name}.json", json.dumps(lines).encode())


def _like(trial: Trial) -> list[str]:
    """Trials with the same take about as long, the first parts deciding most."""
    return [trial.dataset, trial.student, trial.method_name]


@dataclass(frozen=True)
class Planned:
    """A trial of a plan.

    Attributes:
        key: of the trial.
        label: one line for people.
        like: dataset, student and method.
    """

    key: str
    label: str
    like: tuple[str, ...]


@dataclass(frozen=True)
class Running:
    """A trial that a process works on, and since how many seconds."""

    label: str
    seconds: float


@dataclass(frozen=True)
class Progress:
    """How far the plans of a folder are.

    Attributes:
        total: planned trials.
        done: those with a result.
        failed: those whose record is a failure.
        running: those that a process works on.
        seconds_left: what the rest will take at the pace of as many processes as run now; None
            where no trial has told how long it took, or none runs.
    """

    total: int
    done: int
    failed: int
    running: list[Running]
    seconds_left: float | None

    @property
    def waiting(self) -> int:
        return self.total - self.done - self.failed - len(self.running)


class Watcher:
    """Looks at a results folder again and again; a record is read once.

    Args:
        folder: the results folder, which may not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, tuple[int, str, float | None]] = {}

    def look(self) -> Progress:
        """How far the plans are at this moment."""
        planned = {each.key: each for _, plan in _plans(self._folder) for each in plan}
        status: dict[str, str] = {}
        seconds: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for key, each in planned.items():
            found = self._read(key)
            if found is None:
                continue
            status[key] = found[1]
            if found[2] is not None:
                for length in range(len(each.like) + 1):
                    seconds[each.like[:length]].append(found[2])
        left = [each for key, each in planned.items() if key not in status]
        running = {each.key: since for each in left if (since := self._since(each.key)) is not None}
        done = sum(value == "done" for value in status.values())
        return Progress(
            total=len(planned),
            done=done,
            failed=len(status) - done,
            running=[Running(planned[key].label, since) for key, since in running.items()],
            seconds_left=_left(left, running, seconds),
        )

    def _read(self, key: str) -> tuple[int, str, float | None] | None:
        """Time stamp, status and seconds of a record."""
        path = self._folder / key / RECORD
        try:
            stamp = path.stat().st_mtime_ns
            if self._known.get(key, (None,))[0] != stamp:
                record = json.loads(limits.read_whole(path, limits.RECORD))
                taken = record.get("timings", {}).get("total_seconds")
                self._known[key] = stamp, str(record["status"]), taken
        except (BenchError, OSError, ValueError, KeyError, AttributeError):
            return None
        return self._known[key]

    def _since(self, key: str) -> float | None:
        """For how many seconds a process has worked on a trial; None: none does."""
        path = self._folder / CLAIMS / key
        try:
            if locks.is_held(path):
                return max(0.0, time.time() - path.stat().st_mtime)
        except OSError:
            pass
        return None


def _left(
    left: Iterable[Planned],
    running: dict[str, float],
    seconds: dict[tuple[str, ...], list[float]],
) -> float | None:
    if not running or not seconds:
        return None
    total = 0.0
    for each in left:
        parts = (each.like[:length] for length in range(len(each.like), -1, -1))
        taken = next(seconds[part] for part in parts if part in seconds)
        total += max(0.0, sum(taken) / len(taken) - running.get(each.key, 0.0))
    return total / len(running)


def _plans(folder: Path) -> list[tuple[Path, list[Planned]]]:
    """The plans of a folder that can be read."""
    found = []
    for path in sorted((folder / PLANS).glob("*.json")):
        try:
            lines = json.loads(limits.read_whole(path, limits.RECORD))
            plan = [Planned(str(x["key"]), str(x["label"]), tuple(x["like"])) for x in lines]
        except (BenchError, OSError, ValueError, KeyError, TypeError):
            continue
        found.append((path, plan))
    return found
