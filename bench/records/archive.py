"""Zip archives that hold records as a results folder does, read where they lie.

Nothing is unpacked onto the disk. A place in an archive is a `zipfile.Path`, which a reader uses
like a `pathlib.Path`.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

from bench import limits
from bench.errors import DataError

SUFFIX = ".zip"

Place = Path | zipfile.Path
"""A file or folder, on the disk or in an archive."""

UNREADABLE = (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error)
"""What reading a file raises that is damaged, in an archive or outside."""

MAX_BYTES = 1 << 30
"""That an archive may have."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def open_archive(path: Path) -> zipfile.Path:
    """The root of an archive, which is read into memory once, packed as it is.

    Raises:
        DataError: it is no zip archive, cut off, encrypted or packed in a way that not every
            Python reads, or larger than `MAX_BYTES`.
        TooMuch: it unpacks to far more than its size suggests.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(limits.read_whole(path, MAX_BYTES)))
        limits.check_zip(archive, limits.Budget(path, path.stat().st_size), _METHODS)
    except DataError:
        raise
    except Exception as error:  # a directory of members can be wrong in as many ways as there are
        raise DataError(f"{path}: not an archive of records that can be read: {error}") from error
    # A place is called what stands here, and what is below it.
    archive.filename = str(path)
    return zipfile.Path(archive)
