"""Folders that are whole or absent, and the lock under which they are made."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from bench.files import writing_to
from bench.progress import Progress

PATIENCE = 1.0
"""Seconds to wait for a lock before saying so: most processes hold one for less."""


@contextlib.contextmanager
def locked(folder: Path, progress: Progress, lock_file: Path | None = None) -> Iterator[None]:
    """Be the only process that makes `folder`; one that is at it is waited for.

    The lock dies with its holder; its file stays.

    Args:
        folder: what is made; folders above it are made if missing.
        progress: takes one line of text if there is a wait.
        lock_file: the file of the lock; None: `.NAME.lock` beside the folder NAME.

    Raises:
        ConfigError: the place cannot be written to.
    """
    lock_file = lock_file or folder.with_name(f".{folder.name}.lock")
    lock = FileLock(lock_file)
    with writing_to(folder):
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        free = _acquire(lock, PATIENCE)
    if not free:
        progress(f"another process is working on {folder}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, timeout: float) -> bool:
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        return False
    return True


@contextlib.contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """An empty folder beside `path`, removed at the end; call it under a lock on `path`.

    What killed processes left of theirs is removed as well.

    Raises:
        ConfigError: the place cannot be written to.
    """
    prefix = f".{path.name}.building-"
    temporary = path.with_name(f"{prefix}{uuid.uuid4().hex[:8]}")
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.iterdir():
            if leftover.name.startswith(prefix):
                shutil.rmtree(leftover, ignore_errors=True)
        temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def created(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which becomes `folder` if all went well.

    Call it under a lock on `folder`, and do nothing but write: an OSError is told as one of that.

    Raises:
        ConfigError: the place cannot be written to, or something is in `folder` by then.
    """
    with scratch(folder) as temporary, writing_to(folder):
        yield temporary
        temporary.rename(folder)  # fails if it would hide a file or a folder that is not empty


@contextlib.contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of `folder` if all went well.

    Call it under a lock on `folder`, and do nothing but write: an OSError is told as one of that.

    Raises:
        ConfigError: the place cannot be written to.
    """
    with scratch(folder) as temporary, writing_to(folder):
        new = temporary / "new"
        new.mkdir()
        yield new
        if folder.exists():
            folder.rename(temporary / "old")
        new.rename(folder)
