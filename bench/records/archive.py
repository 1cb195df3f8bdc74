"""Zip archives that hold records as a results folder does, read where they lie.

Nothing is unpacked onto the disk. A place in an archive is a `zipfile.Path`, which a reader uses
like a `pathlib.Path`.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

from bench.errors import DataError

SUFFIX = ".zip"

Place = Path | zipfile.Path
"""A file or folder, on the disk or in an archive."""

UNREADABLE = (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error)
"""What reading a file raises that is damaged, in an archive or outside."""

MAX_BYTES = 1 << 30
"""That an archive may have, and each of its members once unpacked."""

_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def open_archive(path: Path) -> zipfile.Path:
    """The root of an archive, which is read into memory once, packed as it is.

    Raises:
        DataError: it is no zip archive, cut off, encrypted or packed in a way that not every
            Python reads, or it or a member is larger than `MAX_BYTES`.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
        archive = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
        for member in archive.infolist():
            _check(member)
    except UNREADABLE as error:
        raise DataError(f"{path}: not an archive of records that can be read: {error}") from error
    # A place is called what stands here, and what is below it.
    archive.filename = str(path)
    return zipfile.Path(archive)


def _check(member: zipfile.ZipInfo) -> None:
    """Raises ValueError for a member that cannot be read; never more than its size is read."""
    if member.file_size > MAX_BYTES:
        raise ValueError(f"{member.filename} unpacks to more than {MAX_BYTES:,} bytes")
    if member.flag_bits & _ENCRYPTED or member.compress_type not in _METHODS:
        raise ValueError(f"{member.filename} is encrypted, or packed with another method")
