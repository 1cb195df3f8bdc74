"""What an executor is: it starts workers somewhere, and says what they say and what became of them.

A worker claims free trials of a results folder and ends when nothing is left (see
`bench.execution.worker`). So an executor ships no data and no tensors, only a job: which trials,
where they are, and how to run them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

from bench import layers
from bench.errors import ConfigError
from bench.paths import PACKAGE
from bench.registry import SourceEntry, SourceRegistry

if TYPE_CHECKING:
    from bench.execution.devices import Jobs
    from bench.execution.worker import Job


@dataclass(frozen=True)
class Said:
    """A worker printed a line."""

    worker: str
    line: str


@dataclass(frozen=True)
class Brought:
    """A worker without access to the results folder has made a record: its files by name."""

    worker: str
    key: str
    files: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True)
class Ended:
    """A worker is gone.

    Attributes:
        worker: its name.
        why: what ended it; empty if it found nothing more to do, or was told to end and did.
        blames: whether the trial that it was at may be what ended it, which is then recorded as
            `lost-worker`. A machine that was taken away is not the trial's fault.
    """

    worker: str
    why: str = ""
    blames: bool = False


Event = Said | Brought | Ended

EXECUTORS: SourceRegistry[type[Executor], SourceEntry] = SourceRegistry(
    "executor",
    SourceEntry,
    "bench.executors.interface:Executor",
    "executor",
    PACKAGE / "executors",
)

C = TypeVar("C", bound=type)


def register_executor(name: str, /) -> Callable[[C], C]:
    """Class decorator that makes an `Executor` available as `--executor NAME`.

    Args:
        name: kebab-case name, written as a literal (it is read without importing the file).
    """
    return lambda cls: cls


class ExecutorConfig(BaseModel):
    """Base of every executor's options (`--executor-set`): an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Executor(ABC):
    """Starts workers and says what became of them.

    Attributes:
        is_here: its workers share this machine and its cores.
    """

    Config: ClassVar[type[ExecutorConfig]] = ExecutorConfig
    is_here: ClassVar[bool] = False

    def __init__(self, config: Any) -> None:
        self.config = config

    @property
    def needs_workers(self) -> bool:
        """Whether even a single trial at a time runs in a worker, and not where it is asked for."""
        return not self.is_here

    def divide(self, jobs: Jobs | None, threads: int | None) -> tuple[int, int]:
        """How many workers to start, and the threads of each.

        Args:
            jobs: how many were asked for.
            threads: how many each was meant to have.

        Raises:
            ConfigError: nobody can tell how many.
        """
        if jobs == "auto":
            raise ConfigError(
                "--jobs auto counts the cores of this machine, and others train: say how many "
                "workers there are, such as --workers 4"
            )
        return jobs or 1, threads or 1

    def device(self, here: str, wanted: str) -> str:
        """The torch device of a worker.

        Args:
            here: the one that was found on this machine.
            wanted: what the user named, which may be `auto`.
        """
        return wanted

    @abstractmethod
    def work(self, job: Job, workers: int) -> Generator[Event, None, None]:
        """Start workers and yield what they say, until all have ended.

        A generator: what it started and nobody needs any more ends when it is closed.

        Args:
            job: what every worker does.
            workers: how many, at least 1.

        Raises:
            ConfigError: the engine is not there, or refuses the workers.
        """

    def apart(self, jobs: Sequence[Job], at_once: int) -> Generator[Event, None, None]:
        """Start a worker for each of several jobs, so many at a time; else as `work`.

        Raises:
            ConfigError: its workers are shared by many trials.
        """
        raise ConfigError("--isolate: not with this executor, whose workers run many trials each")


def hire(name: str, options: Mapping[str, Any]) -> Executor:
    """The executor called `name`, with its options validated.

    Raises:
        UnknownNameError: there is none of this name.
        ConfigError: an option that it does not have, or a wrong value.
    """
    executor = EXECUTORS.load(name)
    return executor(layers.build(executor.Config, options, f"--executor-set of {name}"))
