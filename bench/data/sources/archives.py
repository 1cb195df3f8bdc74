"""Tables inside downloaded files, read as a stream: nothing is ever unpacked onto the disk."""

from __future__ import annotations

import contextlib
import fnmatch
import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from bench.errors import DataError

MAX_LINE = 64 << 20
"""Bytes that one line may have."""

FREE = 1 << 30
"""Unpacked bytes beyond which `MAX_RATIO` is looked at."""

MAX_RATIO = 200
"""Times that a file may be larger than what it is packed into; text is up to about 20."""

_TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_BUFFER = 1 << 20


@contextlib.contextmanager
def lines_of(path: Path, member: str | None = None) -> Iterator[Iterator[bytes]]:
    """The lines of a plain or gzipped file, or of one member of a zip or tar archive.

    Args:
        path: the file.
        member: which file of an archive; `*` stands for anything. None: its only file.

    Raises:
        DataError: damaged or cut off, not exactly one such member, a member that would lie outside
            the archive's folder, a line without end, or far more than its packed size suggests.
    """
    try:
        with _opened(path, member) as stream:
            yield _lines(stream, path)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError) as error:
        raise DataError(f"{path}: damaged or cut off ({error}); remove it") from error


def refuse_unsafe_members(path: Path) -> None:
    """Refuse an archive whose members would lie outside the folder it is unpacked into.

    Raises:
        DataError: names the first such member (absolute, with `..`, or a link).
    """
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            _safe(path, archive.namelist())
    elif path.name.endswith(_TAR):
        with tarfile.open(path) as tar:
            _safe(path, [m.name if m.isfile() or m.isdir() else f"../{m.name}" for m in tar])


@contextlib.contextmanager
def _opened(path: Path, member: str | None) -> Iterator[IO[bytes]]:
    with contextlib.ExitStack() as stack:
        packed = path.stat().st_size
        if path.suffix == ".zip":
            archive = stack.enter_context(zipfile.ZipFile(path))
            name = _the_one(path, _safe(path, archive.namelist()), member)
            stream: Any = archive.open(name)
        elif path.name.endswith(_TAR):
            tar = stack.enter_context(tarfile.open(path))
            refuse_unsafe_members(path)
            name = _the_one(path, [m.name for m in tar if m.isfile()], member)
            stream = tar.extractfile(name)
        else:
            stream = gzip.GzipFile(path) if path.suffix == ".gz" else path.open("rb")
        counted = _Counted(stack.enter_context(stream), path, packed)
        yield stack.enter_context(io.BufferedReader(counted, _BUFFER))


class _Counted(io.RawIOBase):
    """A stream that ends with an error where it unpacks to far more than it can hold in good faith.

    Args:
        stream: what is unpacked.
        path: the packed file, for messages.
        packed: its size in bytes.
    """

    def __init__(self, stream: IO[bytes], path: Path, packed: int) -> None:
        self._stream, self._path, self._count = stream, path, 0
        self._most = max(FREE, MAX_RATIO * packed)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        block = self._stream.read(len(buffer))
        self._count += len(block)
        if self._count > self._most:
            raise DataError(f"{self._path}: unpacks to more than {self._most:,} bytes; refused")
        buffer[: len(block)] = block
        return len(block)


def _lines(stream: IO[bytes], path: Path) -> Iterator[bytes]:
    while line := stream.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise DataError(f"{path}: has a line of more than {MAX_LINE:,} bytes")
        yield line


def _safe(path: Path, names: list[str]) -> list[str]:
    for name in names:
        place = PurePosixPath(name.replace("\\", "/"))
        if place.is_absolute() or ".." in place.parts or ":" in "".join(place.parts[:1]):
            raise DataError(f"{path}: member '{name}' would lie outside its folder; refused")
    return names


def _the_one(path: Path, names: list[str], member: str | None) -> str:
    wanted = _plain(member or "*")
    found = [
        name
        for name in names
        if fnmatch.fnmatchcase(_plain(name), wanted) and not _plain(name).startswith("__MACOSX/")
    ]
    if len(found) != 1:
        there = ", ".join(map(_plain, names[:10])) or "nothing"
        raise DataError(
            f"{path}: {len(found)} members are called '{wanted}', one is needed. There: {there}"
        )
    return found[0]


def _plain(name: str) -> str:
    """A member's name without the `./` that `tar czf x.tgz .` puts before every name."""
    return name.removeprefix("./")
