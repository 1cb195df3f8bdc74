"""Files that are whole or absent, and their hashes.

What is renamed into its place has reached the disk before: after a power cut it is there as it was
written, or not at all. docs/reliability.md says what that costs.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from bench.errors import NotWritten

_WRITING, _ATTEMPTS = ".writing-", 10
"""In the name of a file that is being written; how often it is written that is swept away."""


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


def write_whole(
    path: Path,
    content: bytes | Callable[[BinaryIO], object],
    check: Callable[[Path], object] | None = None,
) -> None:
    """Write a file beside `path` and put it in its place, so that no reader sees a part of it.

    What was written is written again if `swept` takes it away before it is in its place.

    Args:
        path: the file; its folder is there.
        content: the bytes, or a function that writes them to the open file it is given.
        check: is given the file before it is put in its place, and raises if it is not right.

    Raises:
        OSError: the folder is not there or cannot be written to; `path` is as it was.
    """
    for _ in range(_ATTEMPTS):
        temporary = path.with_name(f".{path.name}{_WRITING}{uuid.uuid4().hex[:8]}")
        try:
            with temporary.open("xb") as stream:
                _fill(stream, content)
                stream.flush()
                _sync(stream.fileno())
            if check is not None:
                check(temporary)
            if _put(temporary, path):
                return
        finally:
            temporary.unlink(missing_ok=True)
    raise FileNotFoundError(errno.ENOENT, "what is written there is swept away", str(path))


def _put(temporary: Path, path: Path) -> bool:
    """Put a file in its place; False where it was swept away."""
    try:
        temporary.replace(path)
    except FileNotFoundError:
        return False
    sync_folder(path.parent)
    return True


def swept(folder: Path) -> None:
    """Remove what killed writers left in a folder; whoever writes there now writes it again."""
    with contextlib.suppress(OSError):  # mostly there is nothing, and who may not write leaves it
        for leftover in folder.glob(f".*{_WRITING}*"):
            leftover.unlink(missing_ok=True)


def write_output(
    path: Path,
    content: bytes | Callable[[BinaryIO], object],
    check: Callable[[Path], object] | None = None,
) -> None:
    """Write where a user says, as `write_whole`; into a device, a pipe or a link as it is there.

    Root would put a file in the place of `/dev/null`.

    Raises:
        OSError: the place cannot be written to.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        with path.open("wb") as stream:
            _fill(stream, content)
    else:
        write_whole(path, content, check)


def _fill(stream: BinaryIO, content: bytes | Callable[[BinaryIO], object]) -> None:
    if callable(content):
        content(stream)
    else:
        stream.write(content)


def sync_tree(folder: Path) -> None:
    """Wait until a folder and all that is in it have reached the disk."""
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            with (Path(place) / name).open("rb") as stream:
                _sync(stream.fileno())
        sync_folder(Path(place))


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder have reached the disk; Windows cannot be asked to."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        _sync(handle)
    finally:
        os.close(handle)


def _sync(handle: int) -> None:
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EROFS, errno.EBADF):
            raise  # on other file systems there is nothing to wait for


def exchange(one: Path, other: Path) -> bool:
    """Give two files or folders each other's names in one step; False where that cannot be done."""
    if sys.platform == "win32":
        return False
    libc, names = ctypes.CDLL(None), (os.fsencode(one), os.fsencode(other))
    if hasattr(libc, "renameat2"):  # Linux
        failed = libc.renameat2(_HERE, names[0], _HERE, names[1], _EXCHANGE)
    elif hasattr(libc, "renamex_np"):  # macOS
        failed = libc.renamex_np(*names, _EXCHANGE)
    else:
        return False
    return not failed


_HERE, _EXCHANGE = -100, 2  # AT_FDCWD; RENAME_EXCHANGE of Linux and RENAME_SWAP of macOS


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
