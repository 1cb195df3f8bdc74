"""What a tracker is: it shows a trial, once its record is written, where people look for runs."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from bench import layers
from bench.errors import ConfigError
from bench.paths import PACKAGE
from bench.records.record import Record
from bench.registry import SourceEntry, SourceRegistry

_logger = logging.getLogger(__name__)

FOLDER = "trackers"
"""In the results folder, where trackers write that are told no other place."""


@dataclass(frozen=True)
class Tracked:
    """A trial as trackers show it.

    Attributes:
        key: of its record.
        name: one line for people.
        status: of its record.
        settings: plain values by dotted names, such as `training.learning_rate`.
        curve: numbers of each epoch by name, the first epoch first.
        metrics: final ones by split and name, such as `test/ndcg@20`.
    """

    key: str
    name: str
    status: str
    settings: Mapping[str, str | int | float | bool]
    curve: Sequence[Mapping[str, float]]
    metrics: Mapping[str, float]


class Tracker(ABC):
    """Shows trials, and nothing else of them than `Tracked` holds.

    Whatever it raises is logged: the trial has its record and does not fail.

    Args:
        folder: where it writes unless the tracker's own configuration names another place.
    """

    needs: ClassVar[str] = ""
    """The module that it cannot do without; the extra of that name installs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def track(self, trial: Tracked) -> None:
        """Show a trial; one that was shown before, as failed, is shown anew."""


TRACKERS: SourceRegistry[type[Tracker], SourceEntry] = SourceRegistry(
    "tracker", SourceEntry, "bench.trackers.interface:Tracker", "tracker", PACKAGE / "trackers"
)

C = TypeVar("C", bound=type)


def register_tracker(name: str, /) -> Callable[[C], C]:
    """Class decorator that makes a `Tracker` available as `--tracker NAME`.

    Args:
        name: kebab-case name, written as a literal (it is read without importing the file).
    """
    return lambda cls: cls


def check(names: Iterable[str]) -> None:
    """Reject what could not track, before anything is trained.

    Raises:
        ConfigError: an unknown name, or what it needs is not installed.
    """
    for name in names:
        needed = TRACKERS.load(name).needs
        try:
            __import__(needed)
        except ImportError as error:
            raise ConfigError(
                f"--tracker {name} needs {needed}: pip install 'distill-bench[{name}]'"
            ) from error


def track(
    names: Iterable[str], folder: Path, record: Record, curve: Sequence[Mapping[str, Any]]
) -> None:
    """Show a trial in trackers; what goes wrong there is a line in the log.

    Args:
        names: of the trackers.
        folder: the results folder.
        record: of a trial.
        curve: of the same trial.
    """
    for name in names:
        try:
            TRACKERS.load(name)(folder / FOLDER / name).track(tracked(record, curve))
        except Exception as error:  # a tracker must not cost a trial
            _logger.warning(f"tracker {name}: {type(error).__name__}: {error}")


def tracked(record: Record, curve: Sequence[Mapping[str, Any]]) -> Tracked:
    """What trackers are given of a record of a trial."""
    trial = record.trial
    assert trial is not None  # noqa: S101 - references are not tracked
    settings: dict[str, Any] = {
        "dataset": trial.dataset,
        "protocol": trial.protocol,
        "seen": trial.seen,
        "student": {"name": trial.student, **trial.student_config.parameters},
        "method": {"name": trial.method_name, **(record.settings or trial.method_settings)},
        "teacher": trial.teacher_label or "",
        "seed": trial.seed,
        "training": trial.training.model_dump(mode="json"),
    }
    plain = {
        name: value if isinstance(value, str | int | float) else str(value)
        for name, value in layers.flat(settings).items()
    }
    numbers = [
        {name: float(x) for name, x in epoch.items() if isinstance(x, int | float)}
        for epoch in curve
    ]
    metrics = {
        f"{split}/{name}": value
        for split, values in record.metrics.items()
        for name, value in values.items()
    }
    return Tracked(record.key, trial.label, record.status, plain, numbers, metrics)
