"""Locks between processes, on one machine or on several, that die with their holder.

A lock is a byte range of a file, which the system frees when its holder ends, however that is.
Of the two kinds that POSIX systems have, `lockf` holds between the nodes of NFS, Lustre and GPFS,
where `flock` may hold on one node alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from bench.errors import ConfigError

_held: set[Path] = set()
_guard = threading.Lock()


@contextlib.contextmanager
def attempted(path: Path) -> Iterator[bool]:
    """Try to hold the lock of a file, which is made and removed; yields whether it is granted.

    Never waits.

    Args:
        path: the file; its folder is there. It is left behind by a holder that is killed.

    Raises:
        ConfigError: the file system has no locks.
        OSError: the file cannot be written to.
    """
    path = path.absolute()
    with _in_this_process(path) as free:
        if not free:
            yield False
            return
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            # A holder removes the file: a lock on one that was removed since protects nothing.
            granted = _lock(handle, path) and _is_there(handle, path)
            try:
                yield granted
            finally:
                if granted:
                    with contextlib.suppress(OSError):  # it may be gone, with its folder
                        path.unlink()
        finally:
            os.close(handle)


@contextlib.contextmanager
def _in_this_process(path: Path) -> Iterator[bool]:
    """Whether no thread of this process holds the lock: the system does not tell threads apart.

    It even frees a lock when the process closes any other handle of the file.
    """
    with _guard:
        free = path not in _held
        _held.add(path)
    try:
        yield free
    finally:
        if free:
            with _guard:
                _held.discard(path)


def _is_there(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int, path: Path) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(handle: int, path: Path) -> bool:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            if error.errno in (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK):
                raise ConfigError(
                    f"{path.parent}: its file system has no locks ({error.strerror}), without "
                    "which several processes would do the same work: mount it with them (Lustre: "
                    "`-o flock`), or take a folder elsewhere"
                ) from error
            raise
        return True
