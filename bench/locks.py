"""Locks between processes, on one machine or on several, that die with their holder.

A lock is a byte range of a file, which the system frees when its holder ends, however that is.
Of the two kinds that POSIX systems have, `lockf` holds between the nodes of NFS, Lustre and GPFS,
where `flock` may hold on one node alone. Where a file system has none, a lease takes its place
(`bench.leases`).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import platform
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

from bench import leases

_logger = logging.getLogger(__name__)

_WITHOUT = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)
"""What a file system without locks says."""

_MAX_BYTES = 4096
"""Of what says who holds a lock."""

_held: dict[Path, str] = {}
"""What this process holds, and since when."""
_known: dict[Path, bool] = {}
_guard = threading.Lock()


@contextlib.contextmanager
def attempted(path: Path) -> Iterator[bool]:
    """Try to hold the lock of a file, which is made and removed; yields whether it is granted.

    Never waits.

    Args:
        path: the file; its folder is there. It is left behind by a holder that is killed, and says
            who holds the lock while one does (see `holder`).

    Raises:
        OSError: the file cannot be written to.
    """
    path = path.absolute()
    with _in_this_process(path) as free:
        if not free:
            yield False
            return
        if has_locks(path):
            with _locked(path) as granted:
                yield granted
        else:
            with leases.leased(path) as granted:
                yield granted


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        # A holder removes the file: a lock on one that was removed since protects nothing. A
        # machine that mounts the same folder without locks may hold a lease.
        granted = _lock(handle) and _is_there(handle, path) and not leases.is_held(path, handle)
        if granted:
            _sign(handle)
        try:
            yield granted
        finally:
            if granted:
                with contextlib.suppress(OSError):  # it may be gone, with its folder
                    path.unlink()
    finally:
        os.close(handle)


def holder(path: Path) -> str:
    """Who holds the lock of a file and since when, in brackets after a blank; empty if unknown."""
    with _guard:
        since = _held.get(path.absolute())
    if since:  # to open and close the file would free the lock
        return f" ({_signature(since)})"
    content = b""
    with contextlib.suppress(OSError):  # it may have been let go since
        content = path.read_bytes()[:_MAX_BYTES]
    signed = leases.signature(content) or content.decode(errors="replace").strip()
    return f" ({signed})" if signed else ""


def _sign(handle: int) -> None:
    """Write who holds a lock into its file, for those who wait."""
    with contextlib.suppress(OSError):  # such as a full disk, on which a lock still holds
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, _signature(leases.now()).encode())


def _signature(since: str) -> str:
    return f"process {os.getpid()} on {platform.node()}, since {since}"


def has_locks(path: Path) -> bool:
    """Whether the file system of a folder has locks; asked once of each folder by a process."""
    folder = path.parent
    if folder not in _known:
        probe = folder / f".locks-{uuid.uuid4().hex[:8]}"
        handle = os.open(probe, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            _lock(handle)
            _known[folder] = True
        except OSError as error:
            if error.errno not in _WITHOUT:
                raise
            _known[folder] = False
            _logger.info(f"{folder}: no locks here ({error.strerror}), leases take their place")
        finally:
            os.close(handle)
            probe.unlink(missing_ok=True)
    return _known[folder]


def is_held(path: Path) -> bool:
    """Whether a process holds the lock or lease of a file; on POSIX it is not taken to find out.

    Raises:
        OSError: the file is not there, or cannot be read.
    """
    path = path.absolute()
    if path in _held:  # to open and close the file here would free the lock
        return True
    handle = os.open(path, os.O_RDONLY)
    try:
        return leases.is_held(path, handle) or _is_locked(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _in_this_process(path: Path) -> Iterator[bool]:
    """Whether no thread of this process holds the lock: the system does not tell threads apart.

    It even frees a lock when the process closes any other handle of the file.
    """
    with _guard:
        if free := path not in _held:
            _held[path] = leases.now()
    try:
        yield free
    finally:
        if free:
            with _guard:
                del _held[path]


def _is_there(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _is_locked(handle: int) -> bool:
        if not _lock(handle):
            return True
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)
        return False

else:
    import fcntl
    import struct

    _FLOCK = "qqihh" if sys.platform == "darwin" else "hhqqi"
    """`struct flock`: type and whence, start and length, process; on macOS the other way round."""

    def _is_locked(handle: int) -> bool:
        start, length, process, kind, whence = 0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET
        if sys.platform == "darwin":
            asked = struct.pack(_FLOCK, start, length, process, kind, whence)
            answer = struct.unpack(_FLOCK, fcntl.fcntl(handle, fcntl.F_GETLK, asked))[3]
        else:
            asked = struct.pack(_FLOCK, kind, whence, start, length, process)
            answer = struct.unpack(_FLOCK, fcntl.fcntl(handle, fcntl.F_GETLK, asked))[0]
        return bool(answer != fcntl.F_UNLCK)

    def _lock(handle: int) -> bool:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
        return True
