"""Folders that are whole or absent, and the lock under which they are made."""

from __future__ import annotations

import contextlib
import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from bench.errors import DataError

TEMPORARY = ".writing-"


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder` (made if missing); a killed process lets go of it.

    Raises:
        DataError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire()
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """An empty folder in `parent` (made if missing), removed at the end.

    Call it under a lock on `parent`: what a killed process left there is removed as well.
    """
    parent.mkdir(parents=True, exist_ok=True)
    temporary = parent / f"{TEMPORARY}{uuid.uuid4().hex[:8]}"
    _remove_leftovers(parent)
    temporary.mkdir()
    try:
        yield temporary
    finally:
        _remove_leftovers(parent)


@contextlib.contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill; it takes the place of `folder` if all went well.

    Call it under a lock on `folder.parent`.
    """
    with scratch_folder(folder.parent) as scratch:
        new = scratch / "new"
        new.mkdir()
        yield new
        if folder.exists():
            folder.rename(scratch / "old")
        new.rename(folder)


def _remove_leftovers(parent: Path) -> None:
    for left in parent.glob(f"{TEMPORARY}*"):
        shutil.rmtree(left, ignore_errors=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON inside a folder that is itself written whole or not at all."""
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        DataError: unreadable or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}; delete its folder") from error
