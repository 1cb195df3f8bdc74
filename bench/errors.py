"""Every error a user can cause, as one family.

The command line prints a `BenchError` as one clear message; anything else is a defect of the suite.
A `TrialFailure` is not a user's mistake but an outcome: it becomes the record of its trial, and the
other trials go on.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping


def nearest(name: str, allowed: Iterable[str]) -> str:
    """What offers the name that was meant, after a blank; nothing where none is near."""
    by_lower = {one.lower(): one for one in allowed}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return f" Did you mean '{by_lower[close[0]]}'?" if close else ""


class BenchError(Exception):
    """A mistake in what the user gave: what is wrong, where, and what is allowed.

    Attributes:
        exit_code: of a command that ends with it.
    """

    exit_code = 2


class Unfinished(BenchError):
    """Trials without a record, since those who were to make them have ended."""

    exit_code = 1


class ConfigError(BenchError):
    """A configuration file, override or option that cannot be understood."""


class NotWritten(ConfigError):
    """A place that cannot be written to: no folder, no permission, a full disk."""


class DataError(BenchError):
    """Interactions or items that are missing, unreadable or inconsistent."""


class ArtifactError(BenchError):
    """Teacher knowledge that breaks the contract; lists every problem found."""

    def __init__(self, where: str, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        lines = "".join(f"\n  - {problem}" for problem in self.problems)
        super().__init__(f"{where} is not usable teacher knowledge:{lines}")


class InputsChanged(BenchError):
    """Data or a teacher that are on the disk are not those that a trial's key names."""


class DeviceLost(BenchError):
    """A CUDA device that this process can no longer use; a new process can."""


class UnknownNameError(ConfigError):
    """A name that is not registered; the message offers the nearest match."""

    def __init__(self, kind: str, name: str, allowed: Iterable[str], where: str = "") -> None:
        allowed = sorted(allowed)
        place = f"{where}: " if where else ""
        listing = ", ".join(allowed) or "none"
        super().__init__(
            f"{place}unknown {kind} '{name}'.{nearest(name, allowed)} Allowed: {listing}"
        )


def said(error: BaseException) -> str:
    """The message of an exception of anybody's."""
    try:
        return str(error)
    except Exception as problem:
        return f"(no message: {type(problem).__name__})"


class TrialFailure(Exception):
    """A trial that ended without a result; `status` is what its record says."""

    status = "error"


class Diverged(TrialFailure):
    """The loss or the scores of a trial became NaN or infinite.

    Attributes:
        curve: what is known of the epochs before, as `bench.training.loop.Fit` keeps it.
    """

    status = "diverged"

    def __init__(self, message: str, curve: Iterable[Mapping[str, float]] = ()) -> None:
        super().__init__(message)
        self.curve = list(curve)


class OutOfMemory(TrialFailure):
    """A trial needed more memory than its device has."""

    status = "out-of-memory"


class LeftBehind(TrialFailure):
    """The method of a trial left the process otherwise than it found it."""


class KnowledgeWritten(LeftBehind):
    """The method of a trial wrote into the knowledge that it was given to read."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, as opposed to a `KeyboardInterrupt` that code raises."""


class Terminated(SystemExit):
    """A signal ends the process, as opposed to code that calls `sys.exit`."""
