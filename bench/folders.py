"""Folders that are whole or absent, and the lock under which they are made."""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from bench import locks
from bench.errors import ConfigError
from bench.files import exchange, sync_folder, sync_tree, writing_to

_logger = logging.getLogger(__name__)

_SCRATCH = ".building-"
_NEW, _OLD = "new", "old"

POLL_SECONDS = 0.05
PATIENCE = 1.0
"""Seconds to wait for a lock before saying so: most processes hold one for less."""


@contextlib.contextmanager
def locked(folder: Path, lock_file: Path | None = None) -> Iterator[None]:
    """Be the only process that makes `folder`; one that is at it is waited for.

    The lock dies with its holder. What a holder was killed at is put right first (see `replaced`).

    Args:
        folder: what is made; folders above it are made if missing.
        lock_file: the file of the lock, which is then of all that is made in the file's folder;
            None: `.NAME.lock` beside the folder NAME.

    Raises:
        ConfigError: the place cannot be written to.
    """
    made = None if lock_file else folder.name
    lock_file = lock_file or folder.with_name(f".{folder.name}.lock")
    patient_until = time.monotonic() + PATIENCE
    while True:
        with contextlib.ExitStack() as stack:
            with writing_to(folder):
                lock_file.parent.mkdir(parents=True, exist_ok=True)
                granted = stack.enter_context(locks.attempted(lock_file))
                if granted:
                    sweep(lock_file.parent, made)
            if granted:
                yield
                return
        if time.monotonic() >= patient_until:
            who = locks.holder(lock_file)
            _logger.info(f"another process{who} is working on {folder}; waiting for it")
            patient_until = math.inf
        time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def scratch(path: Path, known_as: str = "") -> Iterator[Path]:
    """An empty folder beside `path`, removed at the end; call it under a lock on `path`.

    What killed processes left of theirs is removed as well.

    Args:
        path: what is made; folders above it are made if missing.
        known_as: what messages call the place; by default its path.

    Raises:
        ConfigError: the place cannot be written to.
    """
    temporary = path.with_name(f".{path.name}{_SCRATCH}{uuid.uuid4().hex[:8]}")
    with writing_to(known_as or path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, path.name)
        temporary.mkdir()
    try:
        yield temporary
    finally:
        with writing_to(known_as or path):
            _remove(temporary)


def left_behind(place: Path) -> set[str]:
    """Names of what scratch folders in `place` are of: under way, or left by who was killed."""
    return {_made_in(leftover).name for leftover in place.glob(f".*{_SCRATCH}*")}


def sweep(place: Path, made: str | None) -> None:
    """Remove the scratch folders in `place` that are of something called `made`; None: all.

    Call it under a lock on what is made. What was being replaced is replaced.
    """
    for leftover in place.glob(f".*{_SCRATCH}*"):
        if made in (None, _made_in(leftover).name):
            _remove(leftover)


def _remove(temporary: Path) -> None:
    """Remove a scratch folder; a replacement that was cut off half-way is finished first."""
    path, new = _made_in(temporary), temporary / _NEW
    # The old one is set aside only when the new one is whole; until the next step neither is there.
    if (temporary / _OLD).exists() and new.exists() and not path.exists():
        new.rename(path)
    shutil.rmtree(temporary, ignore_errors=True)


def _made_in(temporary: Path) -> Path:
    """What a scratch folder is of."""
    return temporary.with_name(temporary.name.rpartition(_SCRATCH)[0].removeprefix("."))


@contextlib.contextmanager
def created(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which becomes `folder` if all went well.

    Call it under a lock on `folder`, and do nothing but write: an OSError is raised as ConfigError.

    Raises:
        ConfigError: the place cannot be written to, or something is in `folder` by then.
    """
    with scratch(folder) as temporary, writing_to(folder):
        yield temporary
        sync_tree(temporary)
        temporary.rename(folder)  # fails if it would hide a file or a folder that is not empty
        sync_folder(folder.parent)


@contextlib.contextmanager
def replaced(folder: Path, known_as: str = "") -> Iterator[Path]:
    """An empty folder to fill, which takes the place of `folder` if all went well.

    It does in one step where the file system can exchange two names. Elsewhere, who is killed
    between two steps leaves both versions in the scratch folder, and the next to look for `folder`
    (`settle`) or to lock it finishes.

    Args:
        folder: what is made.
        known_as: what messages call the place; by default its path.

    Call it under a lock on `folder`, and do nothing but write: an OSError is raised as ConfigError.

    Raises:
        ConfigError: the place cannot be written to.
    """
    with scratch(folder, known_as) as temporary, writing_to(known_as or folder):
        new = temporary / _NEW
        new.mkdir()
        yield new
        sync_tree(new)
        if not (folder.exists() and exchange(new, folder)):
            if folder.exists():
                folder.rename(temporary / _OLD)
            new.rename(folder)
        sync_folder(folder.parent)


def settle(place: Path) -> None:
    """Finish what processes that were killed left half-way replaced in a folder, if any did."""
    with contextlib.suppress(OSError, ConfigError):  # who may not write finds what is there
        for leftover in place.glob(f".*{_SCRATCH}*"):
            made = _made_in(leftover)
            if made.exists() or not (leftover / _OLD).exists():
                continue
            # Either lock may be the one under which it is made (see `locked`).
            own = made.with_name(f".{made.name}.lock")
            with locks.attempted(own) as first, locks.attempted(place / ".lock") as second:
                if first and second:
                    _remove(leftover)
