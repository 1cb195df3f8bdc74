"""Files that are whole or absent, and their hashes."""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from bench.errors import NotWritten


@contextlib.contextmanager
def writing_to(place: Path | str) -> Iterator[None]:
    """Tell in one line that a place cannot be written to: no folder, no permission, a full disk.

    Args:
        place: what the user knows it by.

    Raises:
        NotWritten: in place of every OSError inside.
    """
    try:
        yield
    except OSError as error:
        raise NotWritten(f"{place} cannot be written to: {error.strerror or error}") from error


def write_whole(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file beside `path` and put it in its place, so that no reader sees a part of it.

    Args:
        path: the file; its folder is there.
        content: the bytes, or a function that writes them to the open file it is given.

    Raises:
        OSError: the folder is not there or cannot be written to; `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.writing-{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("xb") as stream:
            if callable(content):
                content(stream)
            else:
                stream.write(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
