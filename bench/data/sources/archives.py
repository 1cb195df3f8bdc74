"""Lines of files, packed or plain, read as a stream: nothing is ever unpacked onto the disk."""

from __future__ import annotations

import codecs
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
def lines_of(path: Path, member: str | None = None) -> Iterator[IO[bytes]]:
    """The lines of a plain, gzipped or Zstandard file, or of one member of a zip or tar archive.

    Args:
        path: the file.
        member: which file of an archive; `*` stands for anything. None: its only file.

    Raises:
        DataError: damaged or cut off, not exactly one such member, a member that would lie outside
            the archive's folder, a line without end, far more than its packed size suggests, or
            `.zst` without the package that reads it.
    """
    try:
        with _opened(path, member) as stream:
            yield stream
    except FileNotFoundError as error:
        raise DataError(f"{path}: cannot be read: no such file") from error
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError) as error:
        raise DataError(f"{path}: damaged or cut off ({error})") from error


@contextlib.contextmanager
def text_of(path: Path, member: str | None = None, encoding: str = "utf-8") -> Iterator[IO[str]]:
    """The same lines as text, without a byte order mark; their ends stay.

    Raises:
        DataError: as `lines_of`, or bytes that are not of the encoding.
    """
    with lines_of(path, member) as lines:
        beginning = lines.peek(4)[:4]  # type: ignore[attr-defined]
        if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise DataError(f"{path}: cannot be read: it is in UTF-16; save it in UTF-8")
        if beginning.startswith(codecs.BOM_UTF8):
            encoding = "utf-8-sig"
        try:
            yield io.TextIOWrapper(lines, encoding, newline="\n")
        except UnicodeDecodeError as error:
            line = _first_that_is_not(encoding, path, member)
            raise DataError(f"{path}: line {line} cannot be read as {encoding}: {error}") from error


def _first_that_is_not(encoding: str, path: Path, member: str | None) -> int:
    with lines_of(path, member) as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError:
                return number
    return 0


def reject_unsafe_members(path: Path) -> None:
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
            reject_unsafe_members(path)
            name = _the_one(path, [m.name for m in tar if m.isfile()], member)
            stream = tar.extractfile(name)
        elif path.suffix.lower() == ".zst":
            stream = _zstandard(path)
        else:
            stream = gzip.GzipFile(path) if path.suffix.lower() == ".gz" else path.open("rb")
        counted = _Counted(stack.enter_context(stream), path, packed)
        yield stack.enter_context(io.BufferedReader(counted, _BUFFER))


def _zstandard(path: Path) -> Any:
    try:
        import pyarrow  # and not zstandard, which takes a file that is cut off for a whole one
    except ImportError as error:
        raise DataError(f"{path}: reading .zst needs the package pyarrow") from error
    return pyarrow.input_stream(str(path), compression="zstd")


class _Counted(io.RawIOBase):
    """A stream that ends with an error where it, or a line, is longer than in good faith.

    Args:
        stream: what is unpacked.
        path: the packed file, for messages.
        packed: its size in bytes.
    """

    def __init__(self, stream: IO[bytes], path: Path, packed: int) -> None:
        self._stream, self._path = stream, path
        self._count = self._line = 0
        self._most = max(FREE, MAX_RATIO * packed)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        block = self._stream.read(len(buffer))
        self._count += len(block)
        if self._count > self._most:
            raise DataError(f"{self._path}: unpacks to more than {self._most:,} bytes; refused")
        self._line = self._line + len(block) if b"\n" not in block else 0
        if self._line > MAX_LINE:
            raise DataError(f"{self._path}: has a line of more than {MAX_LINE:,} bytes")
        buffer[: len(block)] = block
        return len(block)


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
