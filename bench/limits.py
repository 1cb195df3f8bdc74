"""What reading a file that somebody else made may cost: the one place that counts.

A file may cost what its size on the disk pays for, and a small one a fixed amount: bytes once they
are unpacked, cells of a table, memory. Files of millions of honest rows are far from these limits;
files that are made to exhaust a machine meet one of them early. `BENCH_LIMITS=10` allows ten times
as much to whoever trusts a file.
"""

from __future__ import annotations

import contextlib
import os
import stat
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.errors import ConfigError, DataError

VARIABLE = "BENCH_LIMITS"
"""Environment variable: how many times the limits below are allowed."""

FREE_BYTES, BYTES_PER_BYTE = 64 << 20, 50
"""Unpacked bytes of a file: so many, or so many for each byte on the disk (text packs to 1/20)."""

FREE_CELLS, CELLS_PER_BYTE = 4_000_000, 8
"""Cells that are wanted of a table, in the same way: packed rows take about a byte for each."""

FREE_MEMORY, MEMORY_PER_BYTE = 512 << 20, 64
"""Memory, in the same way, where the system can hold a process to it (Linux)."""

PART = 1 << 24
"""Bytes that are read at once of a file that turns out longer than it said."""

LINE = 16 << 20
"""Bytes of a line."""

LITERAL = 1 << 20
"""Bytes of a Python literal, whose syntax tree is a hundred times as large."""

CONFIG, SOURCE = 1 << 17, 1 << 18
"""Bytes of a YAML file, and of a file of Python that is read without being run."""

RECORD, CURVE, ARRAY, STUDENT = 4 << 20, 16 << 20, 256 << 20, 4 << 30
"""Bytes of the JSON of a record, or of a teacher; of its curve; of ranks or users; of a student."""

DEPTH = 32
"""Lists in lists."""

VALUES = 100_000
"""Values of a configuration, those that stand behind an alias counted each time."""

DOWNLOAD, UNSIZED_DOWNLOAD = 64 << 30, 512 << 20
"""Bytes of a download; of one of which the server does not say how long it is."""

SLOWEST, PATIENCE = 1024, 60.0
"""Bytes a second that a download brings at least, after so many seconds."""


class TooMuch(DataError):
    """A file whose reading would cost far more than its size lets expect."""

    def __init__(self, where: object, what: str) -> None:
        super().__init__(
            f"{where}: {what}; refused. {VARIABLE}=10 allows ten times as much, if you trust it"
        )


def allowed(most: int) -> int:
    """A limit under what `BENCH_LIMITS` says.

    Raises:
        ConfigError: it is no whole number from 1.
    """
    text = os.environ.get(VARIABLE, "1")
    times = whole_number(text, 10**6)
    if not times:
        raise ConfigError(f"{VARIABLE}={text[:40]}: a whole number from 1 to 1000000 is expected")
    return most * times


def whole_number(text: str, most: int) -> int | None:
    """The number from 0 to `most` that ASCII digits say; None of any other text.

    Python raises where there are thousands of digits, and takes other scripts' digits for its own.
    """
    digits = text.lstrip("0") or text[:1]
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= len(str(most))):
        return None
    return number if (number := int(digits)) <= most else None


def read_whole(path: Path | zipfile.Path, most: int) -> bytes:
    """The content of a file that is small in good faith.

    Raises:
        OSError: it is not there, or cannot be read.
        DataError: it is a pipe, a device or the like, which may never end.
        TooMuch: it has more than `most` bytes.
    """
    limit = allowed(most)
    if isinstance(path, zipfile.Path):
        with path.open("rb") as stream:
            content: bytes = stream.read(limit + 1)
    else:
        content = _read_ordinary(path, limit + 1)
    if len(content) > limit:
        raise TooMuch(path.name, f"has more than {most:,} bytes")
    return content


def _read_ordinary(path: Path, most: int) -> bytes:
    """The first bytes of a file, `most` of them or all; a report reads thousands of small ones.

    Raises:
        OSError: it is not there, or cannot be read.
        DataError: it is no ordinary file.
    """
    place = str(path)
    status = os.stat(place)  # noqa: PTH116 - a third of what a small file costs is its Path
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path.name}: is no ordinary file")
    descriptor = os.open(place, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        # A buffer is made for as much as is asked for. As many bytes as it has are all of it.
        content = os.read(descriptor, min(status.st_size + 1, most))
        while len(content) != status.st_size and len(content) < most:
            more = os.read(descriptor, min(most - len(content), PART))
            if not more:
                break
            content += more
    finally:
        os.close(descriptor)
    return content


class Budget:
    """What may be spent on one file; whoever unpacks or parses it says what that took.

    Args:
        where: what messages call the file.
        size: its bytes on the disk, which pay for what they cost.
    """

    def __init__(self, where: object, size: int) -> None:
        self.where, self.size = where, size
        self._bytes = self._cells = 0
        self._paid: Callable[[], int] = lambda: size
        self._times = allowed(1)

    def paid_by(self, position: Callable[[], int]) -> None:
        """Let those bytes alone pay that were read: a bomb shows at once, however large it is.

        Args:
            position: tells how many bytes of the file have been read.
        """
        self._paid = position

    def unpacked(self, count: int) -> None:
        """Count bytes that came out of the file.

        Raises:
            TooMuch: there are too many.
        """
        self._bytes += count
        most = self._times * max(FREE_BYTES, BYTES_PER_BYTE * self._paid())
        if self._bytes > most:
            raise TooMuch(self.where, f"unpacks to more than {most:,} bytes from {self._paid():,}")

    def cells(self, count: int) -> None:
        """Count cells, or claimed ones, of a table.

        Raises:
            TooMuch: there are too many.
        """
        self._cells += count
        most = self._times * max(FREE_CELLS, CELLS_PER_BYTE * self._paid())
        if self._cells > most:
            raise TooMuch(self.where, f"has more than {most:,} cells in {self._paid():,} bytes")


@contextlib.contextmanager
def reading(*paths: Path, where: object = None) -> Iterator[Budget]:
    """Read files that somebody else made, within the memory that their size pays for.

    Args:
        paths: the files.
        where: what messages call them; by default the first.

    Raises:
        TooMuch: they need more memory, or hold lists in lists beyond what Python can follow.
    """
    size = sum(path.stat().st_size for path in paths if path.is_file())
    budget = Budget(where or paths[0], size)
    try:
        with _memory(allowed(FREE_MEMORY + MEMORY_PER_BYTE * size)):
            yield budget
    except MemoryError as error:
        raise TooMuch(budget.where, f"needs too much memory for {size:,} bytes") from error
    except RecursionError as error:
        raise TooMuch(budget.where, "holds lists in lists, or the like, too deep") from error


@contextlib.contextmanager
def _memory(most: int) -> Iterator[None]:
    """Let this process take `most` more bytes at a time; beyond that it sees a MemoryError.

    It is a net below what is counted, for what nobody thought of; no system but Linux has it.
    """
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
    except (ImportError, OSError):
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    there = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(
        resource.RLIMIT_DATA, (min([pages * resource.getpagesize() + most, *there]), hard)
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def weight(value: Any) -> int:
    """Values in nested lists, tuples and mappings, each in every place where it stands.

    Takes as long as the lists are written, however often one stands in the others: that is what
    whoever walks through them would take.

    Raises:
        RecursionError: they are deeper than `DEPTH`, or a list is within itself.
    """
    known: dict[int, tuple[int, int]] = {}

    def weigh(one: Any, left: int) -> tuple[int, int]:
        """Values of `one` and how deep it is; it may be `left` deep."""
        if not isinstance(one, list | tuple | Mapping):
            return 1, 0
        if left and id(one) not in known:
            inner = [*one.keys(), *one.values()] if isinstance(one, Mapping) else one
            parts = [weigh(part, left - 1) for part in inner]
            deepest = max((depth for _, depth in parts), default=0)
            known[id(one)] = 1 + sum(count for count, _ in parts), 1 + deepest
        count, depth = known.get(id(one), (0, DEPTH))
        if depth > left:
            raise RecursionError(f"lists in lists, more than {DEPTH} deep")
        return count, depth

    return weigh(value, DEPTH)[0]


_ENCRYPTED = 0x1
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def check_zip(archive: zipfile.ZipFile, budget: Budget, methods: Collection[int] = METHODS) -> None:
    """Refuse a zip archive that cannot be read in full, before anything of it is unpacked.

    Raises:
        DataError: a member is encrypted, or packed in another way than `methods`, or members lie
            over one another.
        TooMuch: together they unpack to too much.
    """
    for member in archive.infolist():
        if member.flag_bits & _ENCRYPTED:
            raise DataError(f"{budget.where}: member '{member.filename}' is encrypted; decrypt it")
        if member.compress_type not in methods:
            raise DataError(
                f"{budget.where}: member '{member.filename}' is packed with method "
                f"{member.compress_type}, which is not read; pack it with deflate"
            )
        budget.unpacked(member.file_size)
    if sum(member.compress_size for member in archive.infolist()) > budget.size:
        raise DataError(f"{budget.where}: its members lie over one another; refused")
