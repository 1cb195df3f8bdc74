"""The one reader of tables: of downloads, of imports and of teachers' lists, in chunks of rows.

Every format becomes the same: data frames of the wanted columns, with the values as the format has
them (text, or what JSON holds) and the number of each row in the index. Rows are counted from 1
beneath the header. pandas does not split the text: its parser takes a field that is quoted badly,
and a row that is too long, for something else without a word.
"""

from __future__ import annotations

import contextlib
import csv
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

from bench import limits
from bench.data.sources.archives import lines_of, text_of
from bench.data.sources.columns import Cells
from bench.data.sources.faults import Faults
from bench.data.sources.records import (
    PARSERS,
    SPLITTERS,
    Parser,
    Splitter,
    columns_of,
    separated_by,
)
from bench.errors import DataError
from bench.limits import Budget

if TYPE_CHECKING:
    import pandas as pd

Format = Literal["csv", "tsv", "dat", "json", "python", "lists", "parquet"]

ENDINGS: Mapping[str, Format] = {
    "csv": "csv",
    "tsv": "tsv",
    "txt": "tsv",
    "inter": "tsv",
    "item": "tsv",
    "dat": "dat",
    "json": "json",
    "jsonl": "json",
    "parquet": "parquet",
}
"""Format of a table by the ending of its name, compression aside."""

COMPRESSIONS = ("gz", "zst")
BROUGHT = ("tsv", "csv", "txt", "inter", "item", "parquet")
"""Endings of tables that people bring; the other formats are those of publishers."""

FORMATS = ".tsv, .csv, .txt, RecBole's .inter and .item (each also with .gz or .zst), .parquet"

CHUNK = 1 << 10
"""Rows of a chunk: few, so that a cache holds them until they are numbers."""

PARQUET_BATCH = 32 << 20
"""Bytes of a column that are held at a time, as far as a Parquet file says how many it has."""

LITERAL_BYTES = 2
"""Bytes of Python literals that cost what one cell costs."""

_UNUSED = 8
"""Fields that are only looked past, which cost what one cell costs."""

_RECBOLE_TYPE = re.compile(r":(token|float)(_seq)?$")


def ending(path: PurePath) -> str:
    """The lower-case ending of a file's name without its dot, that of a compression aside."""
    suffixes = [suffix.lower().lstrip(".") for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def table_format(path: PurePath) -> str | None:
    """`tsv`, `csv`, `parquet`, ...: the ending of a table that people bring, else None."""
    return found if (found := ending(path)) in BROUGHT else None


class Table(ABC):
    """A table that is being read.

    Attributes:
        names: of the columns that have one; empty where rows are objects, or have no header.
        faults: where rows that cannot be used are noted.
        budget: where what it costs is counted.
    """

    def __init__(self, names: Sequence[str], faults: Faults, budget: Budget) -> None:
        self.names, self.faults, self.budget = list(names), faults, budget
        twice = next((name for name, count in Counter(names).items() if count > 1), None)
        if twice is not None:
            raise DataError(f"{faults.where}: column '{twice}' stands twice")

    def chunks(
        self, columns: Mapping[str, str | int], optional: Sequence[str] = ()
    ) -> Iterator[dict[str, Cells]]:
        """The rows, some at a time, by the keys of `columns`.

        Args:
            columns: name, or place from 0 on, of each column.
            optional: keys whose columns an object may lack.

        Raises:
            DataError: (while iterating) rows that cannot be read.
        """
        needed = [column for key, column in columns.items() if key not in optional]
        names = [column if isinstance(column, str) else key for key, column in columns.items()]
        for rows, values in self._blocks(list(columns.values()), needed):
            yield {
                key: Cells(name, rows, column)
                for key, name, column in zip(columns, names, values, strict=True)
            }

    @abstractmethod
    def _blocks(
        self, columns: Sequence[Any], needed: Sequence[Any]
    ) -> Iterator[tuple[Sequence[int], Sequence[Sequence[Any]]]]:
        """Numbers of rows, and the values of each column."""


@contextlib.contextmanager
def open_table(
    path: Path,
    form: Format | None = None,
    *,
    member: str | None = None,
    encoding: str = "utf-8",
    header: bool = True,
    tolerance: float = 0.0,
) -> Iterator[Table]:
    """Read a table.

    Args:
        path: the file.
        form: its format; None: by the ending of its name.
        member: which file of an archive.
        encoding: of texts that are not JSON.
        header: whether rows of fields have names above them.
        tolerance: share of the rows that may be unreadable and are skipped.

    Raises:
        DataError: unknown format, unreadable, damaged, empty, or a column that stands twice.
        TooMuch: it would cost far more than its size lets expect (`bench.limits`).
    """
    where = f"{path} ({member})" if member else str(path)
    faults = Faults(where, tolerance)
    form = form or ENDINGS.get(ending(path))
    if form is None:
        raise DataError(f"{path}: unknown kind of table; known are {FORMATS}")
    with limits.reading(path, where=where) as budget:
        if form == "parquet":
            yield _Parquet(path, faults, budget)
        elif form in PARSERS:
            with lines_of(path, member, budget) as lines:
                yield _Objects(lines, PARSERS[form], faults, budget)
        else:
            with text_of(path, member, encoding, budget) as text:
                yield _Fields(text, SPLITTERS[form], header, faults, budget)


def read_table(path: Path) -> pd.DataFrame:
    """All named columns of a whole table as text without outer blanks; what is missing is empty.

    Raises:
        DataError: as `open_table`; rows that are longer or shorter than the header; no rows.
    """
    import pandas as pd

    with open_table(path) as table:
        frames = [
            pd.DataFrame(
                {name: cells.values for name, cells in chunk.items()},
                index=pd.Index(next(iter(chunk.values())).rows, name="row"),
                dtype="str",
            )
            for chunk in table.chunks({n: n for n in table.names})
        ]
    if not frames:
        raise DataError(f"{path}: has a header but no rows")
    return pd.concat(frames).apply(lambda column: column.str.strip())


class _Fields(Table):
    """Rows of fields, under a header or not."""

    def __init__(
        self,
        lines: Iterator[str],
        split: Splitter,
        header: bool,
        faults: Faults,
        budget: Budget,
    ) -> None:
        first = list(islice(lines, 2)) if header else []
        separator = re.fullmatch(r"sep=(.)\s*", first[0]) if first else None
        if separator:  # as spreadsheet programs say which separator a file has
            split, first = separated_by(separator[1]), [*first[1:], *islice(lines, 1)]
        elif split is SPLITTERS["tsv"] and first and first[0].startswith('"'):
            split = separated_by("\t")  # whoever quotes the header quotes every text
        self._where, self._width, self.budget = faults.where, 0, budget
        self._divide, self._lines, self._passed = split, chain(first, lines), 0
        self._rows: Iterator[list[str]] = iter(())
        names = self._header(first) if header else []
        self._width = len(names) or self._width_of_first()
        self._places = {name: place for place, name in enumerate(names) if name}
        super().__init__([name for name in names if name], faults, budget)

    def _header(self, first: list[str]) -> list[str]:
        """The names of the columns, with an empty one over R's names of rows."""
        plain = columns_of(first, self._divide) if first else None
        if plain is None:
            self._look_closely([])
            if not (named := self._take(1)):
                raise DataError(f"{self._where}: is empty")
            header, row = named[0], self._take(1)
            self._rows = chain(row, self._rows)
        else:
            header, row = [column[0] for column in plain], []
            self._passed = len(list(islice(self._lines, 1)))
        names = [_RECBOLE_TYPE.sub("", name.strip()) for name in header]
        if not any(names):
            raise DataError(f"{self._where}: its first line names no column")
        if row and all(line.startswith('"') for line in first) and len(row[0]) == len(names) + 1:
            names = ["", *names]  # R names rows, not their column, and quotes all names
        return names

    def _width_of_first(self) -> int:
        """The fields of the first row, which all others must have where no header says it."""
        line = list(islice(self._lines, 1))
        self._lines = chain(line, self._lines)
        return len(next(self._divide(iter(line), self._where))) if line else 0

    def _look_closely(self, lines: list[str]) -> None:
        """Divide these lines, and all that follow, one by one."""
        self._split = self._rows = self._divide(chain(lines, self._lines), self._where)
        self._lines = chain()

    def _take(self, count: int) -> list[list[str]]:
        try:
            rows = list(islice(self._rows, count))
        except csv.Error as error:
            line = self._passed + getattr(self._split, "line_num", 0)
            raise DataError(f"{self._where}: line {line}: {error}") from error
        self.budget.cells(sum(map(len, rows)) // _UNUSED)
        return rows

    def _blocks(
        self, columns: Sequence[Any], needed: Sequence[Any]
    ) -> Iterator[tuple[Sequence[int], Sequence[Sequence[Any]]]]:
        places = [self._places.get(column, column) for column in columns]
        least = max(self._width, *(place + 1 for place in places), 0)
        start = 1
        while lines := list(islice(self._lines, CHUNK)):
            fields = columns_of(lines, self._divide)
            if fields is None or len(fields) != least:
                self._look_closely(lines)
                break
            self.budget.cells(len(lines) * (len(columns) + len(fields) // _UNUSED))
            self.faults.check(len(lines))
            self._passed += len(lines)
            yield range(start, start + len(lines)), [fields[place] for place in places]
            start += len(lines)
        while block := self._take(CHUNK):
            self.budget.cells(len(block) * len(columns))
            numbers: Sequence[int] = range(start, start + len(block))
            start += len(block)
            if {*map(len, block)} != {least}:
                numbers, block = self._whole(numbers, block, least)
            self.faults.check(start - 1 - self.faults.rows)
            if block:
                values = list(zip(*block, strict=False))
                yield numbers, [values[place] for place in places]

    def _whole(
        self, numbers: Sequence[int], block: list[list[str]], least: int
    ) -> tuple[list[int], list[list[str]]]:
        """The rows that have as many fields as the header; empty lines are none."""
        kept, whole = [], []
        for number, row in zip(numbers, block, strict=True):
            if row in ([], [""]):
                continue
            if len(row) != least:
                self.faults.add(number, self._unlike(len(row), least))
                continue
            kept.append(number)
            whole.append(row)
        return kept, whole

    def _unlike(self, count: int, least: int) -> str:
        few = "too few" if count < least else "too many"
        if not self.names:
            return f"{{row}}: has {few} fields: {count} where others have {least}"
        names = ", ".join(self.names)
        hint = "" if count < least else "; a field that holds the separator needs quotes"
        return f"{{row}}: has {few} fields: {count} under a header of {least} ({names}){hint}"


class _Objects(Table):
    """An object a line."""

    def __init__(
        self, lines: Iterator[bytes], parse: Parser, faults: Faults, budget: Budget
    ) -> None:
        super().__init__([], faults, budget)
        self._lines, self._parse = lines, parse

    def _blocks(
        self, columns: Sequence[Any], needed: Sequence[Any]
    ) -> Iterator[tuple[Sequence[int], Sequence[Sequence[Any]]]]:
        takers = [itemgetter(name) if name in needed else partial(_get, name) for name in columns]
        start = 1
        while block := list(islice(self._lines, CHUNK)):
            self.budget.cells(len(block) * len(columns))
            if self._parse is PARSERS["python"]:  # Python reads its own syntax that much slower
                self.budget.cells(sum(map(len, block)) // LITERAL_BYTES)
            numbers: Sequence[int] = range(start, start + len(block))
            start += len(block)
            try:
                records = list(map(self._parse, block))
                values = [list(map(take, records)) for take in takers]
            except _NO_RECORD:
                numbers, records = self._those_that_are(numbers, block, needed)
                values = [list(map(take, records)) for take in takers]
            self.faults.check(len(block))
            if records:
                yield numbers, values

    def _those_that_are(
        self, numbers: Sequence[int], block: list[bytes], needed: Sequence[str]
    ) -> tuple[list[int], list[Any]]:
        records = {}
        for number, line in zip(numbers, block, strict=True):
            try:
                record = self._parse(line)
                for name in needed:
                    record[name]
                records[number] = record
            except KeyError as error:
                self.faults.add(number, f"{{row}}: no {error}")
            except _NO_RECORD as error:
                self.faults.add(number, f"{{row}}: no record: {error}")
        return list(records), list(records.values())


_NO_RECORD = (KeyError, ValueError, TypeError, SyntaxError, RecursionError, MemoryError)


def _get(name: str, record: Any) -> Any:
    return record.get(name)


class _Parquet(Table):
    """Columns of a Parquet file as text; an index that pandas kept counts if it has a name."""

    def __init__(self, path: Path, faults: Faults, budget: Budget) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise DataError(f"{path}: reading parquet needs the package pyarrow") from error
        # Texts that are no UTF-8, and the like, are found by Python.
        self._errors = (OSError, ValueError, OverflowError, pyarrow.ArrowException)
        try:
            bare = parquet.ParquetFile(path)
            self._metadata, schema = bare.metadata, bare.schema_arrow
            # A long text that stands in many cells is read once, whatever the file does.
            texts = [one.name for one in schema if _holds_texts(one.type)]
            self._file = parquet.ParquetFile(path, metadata=bare.metadata, read_dictionary=texts)
            found = [name for name in schema.names if not name.startswith("__index_level_")]
        except self._errors as error:
            raise DataError(f"{path}: cannot be read: {error}") from error
        self._columns = {_RECBOLE_TYPE.sub("", name.strip()): name for name in found}
        super().__init__([_RECBOLE_TYPE.sub("", name.strip()) for name in found], faults, budget)

    def _blocks(
        self, columns: Sequence[Any], needed: Sequence[Any]
    ) -> Iterator[tuple[Sequence[int], Sequence[Sequence[Any]]]]:
        start = 1
        names = [self._columns[name] for name in columns]
        batches = self._file.iter_batches(self._affordable(names), columns=names)
        while (block := self._next(batches, names)) is not None:
            count, values = block
            self.faults.check(count)
            yield range(start, start + count), values
            start += count

    def _affordable(self, names: list[str]) -> int:
        """How many rows to read at a time, if what the file says of its columns can be afforded."""
        claimed = limits.Budget(self.budget.where, self.budget.size)
        claimed.cells(self._metadata.num_rows * len(names))
        rows = CHUNK
        for number in range(self._metadata.num_row_groups):
            group = self._metadata.row_group(number)
            parts = (group.column(place) for place in range(group.num_columns))
            sizes = [
                part.total_uncompressed_size
                for part in parts
                if f"{part.path_in_schema}.".startswith(tuple(f"{name}." for name in names))
            ]
            claimed.unpacked(max(0, sum(sizes)))
            widest = max(sizes, default=0) // max(1, group.num_rows)
            rows = min(rows, max(1, PARQUET_BATCH // max(1, widest)))
        return rows

    def _next(self, batches: Iterator[Any], names: list[str]) -> tuple[int, list[list[str]]] | None:
        try:
            if (batch := next(batches, None)) is None:
                return None
            self.budget.cells(len(batch) * max(1, len(names)))
            return len(batch), [self._texts(batch, name) for name in names]
        except self._errors as error:
            raise DataError(f"{self.faults.where}: cannot be read: {error}") from error

    def _texts(self, batch: Any, name: str) -> list[str]:
        import pyarrow

        column = batch.column(name)
        try:
            if pyarrow.types.is_dictionary(column.type):  # a text stands once for many cells
                places = column.indices.to_pylist()
                used = sorted({place for place in places if place is not None})
                known = column.dictionary.take(pyarrow.array(used, pyarrow.int64()))
                found = known.cast(pyarrow.large_string()).to_pylist()
                text_at = dict(zip(used, found, strict=True))
                texts = [text_at.get(place) or "" for place in places]
                self.budget.unpacked(sum(map(len, texts)))
                return texts
            self.budget.unpacked(column.nbytes)
            texts = column.cast(pyarrow.large_string()).to_pylist()
        except pyarrow.ArrowException as error:
            kind = batch.schema.field(name).type
            raise DataError(
                f"{self.faults.where}: column '{name}' holds {kind}; each cell must be one text, "
                "number or time (a list of items needs a row for each item)"
            ) from error
        return ["" if text is None else text for text in texts]


def _holds_texts(kind: Any) -> bool:
    import pyarrow.types as of

    return bool(of.is_string(kind) or of.is_large_string(kind) or of.is_binary(kind))
