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
def replace_folder(folder: Path) -> Iterator[Path]:
    """A temporary sibling to fill; it takes the place of `folder` if all went well.

    Call it under `exclusive(folder.parent)`: what a killed process left there is removed.
    """
    for left in folder.parent.glob(f"{TEMPORARY}*"):
        shutil.rmtree(left, ignore_errors=True)
    temporary = folder.parent / f"{TEMPORARY}{uuid.uuid4().hex[:8]}"
    temporary.mkdir()
    try:
        yield temporary
        if folder.exists():
            folder.rename(folder.parent / f"{TEMPORARY}old-{uuid.uuid4().hex[:8]}")
        temporary.rename(folder)
    finally:
        for left in folder.parent.glob(f"{TEMPORARY}*"):
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
