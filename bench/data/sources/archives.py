"""Lines of files, packed or plain, read as a stream: nothing is ever unpacked onto the disk."""

from __future__ import annotations

import bz2
import codecs
import contextlib
import fnmatch
import gzip
import io
import lzma
import math
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

from bench import limits
from bench.errors import BenchError, DataError
from bench.limits import Budget, TooMuch

_BUFFER = 1 << 20
_HEADER = 1 << 20
"""Bytes of a name, or of other attributes, in a tar archive."""


def _zstandard(stream: IO[bytes]) -> Any:
    try:
        import pyarrow  # and not zstandard, which takes a file that is cut off for a whole one
    except ImportError as error:
        raise DataError("reading .zst needs the package pyarrow") from error
    return pyarrow.CompressedInputStream(stream, "zstd")


def _gzip(stream: IO[bytes]) -> Any:
    return gzip.GzipFile(fileobj=stream)


_PACKED: Mapping[str, Callable[[IO[bytes]], Any]] = {".gz": _gzip, ".zst": _zstandard}
"""What unpacks a file, by the ending of its name."""

_TAR: Mapping[str, Callable[[IO[bytes]], Any]] = {
    ".tar": lambda stream: stream,
    ".tar.gz": _gzip,
    ".tgz": _gzip,
    ".tar.bz2": bz2.BZ2File,
    ".tar.xz": lzma.LZMAFile,
}
"""What unpacks a tar archive, by the ending of its name."""


@contextlib.contextmanager
def lines_of(
    path: Path, member: str | None = None, budget: Budget | None = None
) -> Iterator[IO[bytes]]:
    """The lines of a plain, gzipped or Zstandard file, or of one member of a zip or tar archive.

    Args:
        path: the file.
        member: which file of an archive; `*` stands for anything. None: its only file.
        budget: where its bytes are counted, and what is paid by them; None: one of its own.

    Raises:
        DataError: damaged or cut off, encrypted, not exactly one such member, a member that would
            lie outside the archive's folder, `.zst` without the package that reads it.
        TooMuch: a line without end, or far more than the packed size suggests (`bench.limits`).
    """
    with contextlib.ExitStack() as stack:
        with readable(path):
            budget = budget or Budget(path, path.stat().st_size)
            stream = _opened(path, member, budget, stack)
        yield stack.enter_context(io.BufferedReader(stream, _BUFFER))


@contextlib.contextmanager
def text_of(
    path: Path,
    member: str | None = None,
    encoding: str = "utf-8",
    budget: Budget | None = None,
) -> Iterator[IO[str]]:
    """The same lines as text, without a byte order mark; their ends stay.

    Raises:
        DataError: as `lines_of`, or bytes that are not of the encoding.
    """
    with lines_of(path, member, budget) as lines:
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


def check_whole(path: Path) -> None:
    """Read a packed file to its end, where its checksums are; what it holds is not looked at.

    Raises:
        DataError: damaged, cut off, encrypted, or an archive with a member that would lie outside
            the folder it is unpacked into (absolute, with `..`, or a link).
        TooMuch: it unpacks to far more than its packed size suggests.
    """
    budget = Budget(path, path.stat().st_size)
    with contextlib.ExitStack() as stack, readable(path):
        if path.suffix == ".zip":
            archive = _zip(path, budget, stack)
            for name in _safe(path, archive.namelist()):
                with archive.open(name) as member:
                    _exhaust(member)
        elif ending := _tar_ending(path):
            unpacked = _unpacked(path, _TAR[ending], budget, stack)
            _safe(path, _files_of(_tar(unpacked, stack)))
            _exhaust(unpacked)  # what packs an archive goes on behind its end
        elif unpack := _PACKED.get(path.suffix.lower()):
            _exhaust(_unpacked(path, unpack, budget, stack))


def _exhaust(stream: Any) -> None:
    while stream.read(_BUFFER):
        pass


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Tell of a file that cannot be unpacked; an unpacker fails in as many ways as there are."""
    try:
        yield
    except BenchError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: cannot be read: no such file") from error
    except MemoryError as error:
        raise TooMuch(path, "needs too much memory to be unpacked") from error
    except Exception as error:
        raise DataError(f"{path}: damaged or cut off ({error or type(error).__name__})") from error


def _opened(
    path: Path, member: str | None, budget: Budget, stack: contextlib.ExitStack
) -> _Counted:
    if path.suffix == ".zip":
        archive = _zip(path, Budget(path, budget.size), stack)
        stream: Any = archive.open(_the_one(path, _safe(path, archive.namelist()), member))
        return stack.enter_context(_Counted(stack.enter_context(stream), path, budget))
    if ending := _tar_ending(path):
        with contextlib.ExitStack() as first:
            tar = _tar(_unpacked(path, _TAR[ending], Budget(path, budget.size), first), first)
            name = _the_one(path, _safe(path, _files_of(tar)), member)
        tar = _tar(_unpacked(path, _TAR[ending], budget, stack), stack)
        stream = next(tar.extractfile(entry) for entry in tar if entry.name == name)
        return stack.enter_context(_Counted(stream, path))
    unpack = _PACKED.get(path.suffix.lower(), lambda stream: stream)
    return _unpacked(path, unpack, budget, stack, lines=True)


def _unpacked(
    path: Path,
    unpack: Callable[[IO[bytes]], Any],
    budget: Budget,
    stack: contextlib.ExitStack,
    *,
    lines: bool = False,
) -> _Counted:
    """A file from its beginning on; what was read of it pays for what came out of it."""
    packed = stack.enter_context(path.open("rb"))
    budget.paid_by(packed.tell)
    unpacked = stack.enter_context(unpack(packed))
    return stack.enter_context(_Counted(unpacked, path, budget, lines=lines))


def _zip(path: Path, budget: Budget, stack: contextlib.ExitStack) -> zipfile.ZipFile:
    archive = stack.enter_context(zipfile.ZipFile(path))
    limits.check_zip(archive, budget)
    return archive


def _tar_ending(path: Path) -> str | None:
    return next((ending for ending in _TAR if path.name.endswith(ending)), None)


def _tar(stream: Any, stack: contextlib.ExitStack) -> tarfile.TarFile:
    """A tar archive, read from its beginning to its end; what it skips is counted as well."""
    return stack.enter_context(
        tarfile.open(fileobj=stream, mode="r|", bufsize=_BUFFER, tarinfo=_Entry)
    )


def _files_of(tar: tarfile.TarFile) -> list[str]:
    """Names of its files; what is neither file nor folder leads outside."""
    return [e.name if e.isfile() else f"../{e.name}" for e in tar if not e.isdir()]


class _Entry(tarfile.TarInfo):
    """A member of a tar archive whose attributes are not read where they say they are huge."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if not (self.isfile() or self.isdir()) and self.size > _HEADER:
            raise tarfile.ReadError(f"a name of {self.size:,} bytes")
        entry: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return entry


class _Counted(io.RawIOBase):
    """A stream that ends with an error where it, or a line, is longer than in good faith.

    Args:
        stream: what is unpacked.
        path: the packed file, for messages.
        budget: where its bytes are counted; None: elsewhere.
        lines: whether it has lines, which are not without end.
    """

    def __init__(
        self, stream: IO[bytes], path: Path, budget: Budget | None = None, *, lines: bool = True
    ) -> None:
        self._stream, self._path, self._budget = stream, path, budget
        self._line, self._longest = 0, limits.allowed(limits.LINE) if lines else math.inf

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        with readable(self._path):
            block = self._stream.read(len(buffer))
        if self._budget is not None:
            self._budget.unpacked(len(block))
        self._line = self._line + len(block) if b"\n" not in block else 0
        if self._line > self._longest:
            raise TooMuch(self._path, f"has a line of more than {self._longest:,} bytes")
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
