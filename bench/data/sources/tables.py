"""Tables that users bring: files of several formats, columns under several names, all as text."""

from __future__ import annotations

import contextlib
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np
from numpy.typing import NDArray

from bench.data.prepare.times import MICRO, whole_times
from bench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = {"tsv": "\t", "txt": "\t", "inter": "\t", "item": "\t", "csv": ","}
FORMATS = ".tsv, .csv, .txt, RecBole's .inter and .item (each also with .gz or .zst), .parquet"
COMPRESSIONS = ("gz", "zst")

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "user": ("user_id", "user", "userid", "uid", "reviewerid", "session_id"),
    "item": ("item_id", "item", "itemid", "iid", "asin", "parent_asin", "movie_id", "movieid"),
    "time": ("timestamp", "time", "unixreviewtime", "datetime", "date", "ts"),
    "position": ("position", "order", "ordinal"),
    "rating": ("rating", "overall", "score", "stars"),
    "split": ("split", "subset"),
    "title": ("title", "name", "movie_title", "item_name", "item_title", "text"),
}
"""Names under which a column is found, the first the strongest; case does not matter."""


def table_format(path: Path) -> str | None:
    """`tsv`, `csv`, `parquet`, ...: the extension without `.gz`, or None if it is not one."""
    suffixes = [suffix.lower().lstrip(".") for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    found = suffixes[-1] if suffixes else ""
    return found if found in SEPARATORS or found == "parquet" else None


def open_text(path: Path) -> TextIO:
    """Open a text file to be read, plain, gzipped or in Zstandard, which its ending tells.

    Call it and read under `reading`.

    Raises:
        DataError: `.zst` without the package that reads it.
    """
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    if path.suffix.lower() == ".zst":
        try:
            import pyarrow  # and not zstandard, which takes a file that is cut off for a whole one
        except ImportError as error:
            raise DataError(f"{path}: reading .zst needs the package pyarrow") from error
        stream = pyarrow.input_stream(str(path), compression="zstd")
        return io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what reading a file can raise into a DataError that names the file."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged or cut off: {error}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def read_table(path: Path) -> pd.DataFrame:
    """All columns as text, missing values as empty text; RecBole's `:type` suffixes removed.

    Raises:
        DataError: unknown format, unreadable, damaged or without rows.
    """
    kind = table_format(path)
    if kind is None:
        raise DataError(f"{path}: unknown kind of table; known are {FORMATS}")
    with reading(path):
        frame = _read_parquet(path) if kind == "parquet" else _read_text(path, SEPARATORS[kind])
    frame.columns = [str(name).partition(":")[0].strip() for name in frame.columns]
    if not frame.columns.is_unique:
        twice = sorted(frame.columns[frame.columns.duplicated()])
        raise DataError(f"{path}: column '{twice[0]}' stands twice")
    if frame.empty:
        raise DataError(f"{path}: has a header but no rows")
    return frame


def find_column(frame: pd.DataFrame, role: str, given: str | None, path: Path) -> str | None:
    """The column of a role: the one that was given, else one with a common name, else None.

    Raises:
        DataError: the given column does not exist.
    """
    if given is not None:
        if given not in frame.columns:
            raise DataError(f"{path}: no column '{given}'. Columns: {', '.join(frame.columns)}")
        return given
    return first_column(frame, COLUMNS[role])


def first_column(frame: pd.DataFrame, names: Iterable[str]) -> str | None:
    """The column with the first of some lower-case names that one has, case aside, else None."""
    by_name = {str(column).lower(): str(column) for column in reversed(list(frame.columns))}
    return next((by_name[name] for name in names if name in by_name), None)


def need_column(frame: pd.DataFrame, role: str, given: str | None, path: Path) -> str:
    """As `find_column`, for a role that must be there.

    Raises:
        DataError: there is no such column.
    """
    name = find_column(frame, role, given, path)
    if name is None:
        raise DataError(
            f"{path}: no column for the {role}: none is called {', '.join(COLUMNS[role])}. "
            f"Name one with --column {role}=NAME. Columns: {', '.join(frame.columns)}"
            f"{_hint(role)}"
        )
    return name


def _hint(role: str) -> str:
    """What may stand behind a column that is missing."""
    if role == "time":
        return ". Do the rows of a user stand in the order of time? Then give --file-order"
    if role in ("user", "item"):
        return ". Does a line hold a user and all of their items? Then give --layout user-sequences"
    return ""


def parse_numbers(values: pd.Series, path: Path) -> NDArray[np.float64] | NDArray[np.int64]:
    """Finite numbers, int64 where all are integers.

    Raises:
        DataError: names the first value that is no number.
    """
    import pandas as pd

    numbers = pd.to_numeric(values, errors="coerce")
    bad = ~np.isfinite(numbers.to_numpy(dtype=np.float64, na_value=np.nan))
    if bad.any():
        raise _unreadable(values, bad, "a number", path)
    array = numbers.to_numpy()
    if array.dtype.kind == "f" and (array == np.round(array)).all() and abs(array).max() < 2**53:
        array = array.astype(np.int64)
    return array


def parse_times(values: pd.Series, path: Path) -> tuple[NDArray[np.int64], int]:
    """Integers that order as the times do, and how many of them are one unit of the column.

    Accepts numbers (of any unit and epoch, as `times.whole_times` has them) or ISO 8601 dates,
    whose unit is the second since 1970; a date without a zone is UTC.

    Raises:
        DataError: names the first value that is no time.
    """
    import pandas as pd

    dates = values.str.contains(r"\d[-/T:]\d", regex=True).to_numpy(dtype=bool)
    if not dates.any():
        return whole_times(parse_numbers(values, path))
    if not dates.all():
        # Of two kinds the rarer one is the mistake.
        rare = dates if dates.mean() < 1 / 2 else ~dates
        raise _unreadable(values, rare, "a time like those of the other rows", path)
    times = pd.to_datetime(values, utc=True, errors="coerce", format="ISO8601")
    bad = times.isna().to_numpy()
    if bad.any():
        raise _unreadable(values, bad, "an ISO 8601 time", path)
    return times.dt.as_unit("us").astype("int64").to_numpy(), MICRO


def _unreadable(values: pd.Series, bad: NDArray[np.bool_], kind: str, path: Path) -> DataError:
    row = int(np.flatnonzero(bad)[0])
    return DataError(
        f"{path}: column '{values.name}', row {row + 1}: {str(values.iloc[row])!r} is not {kind} "
        f"({bad.sum():,} such rows)"
    )


def _read_text(path: Path, separator: str) -> pd.DataFrame:
    import pandas as pd

    try:
        with open_text(path) as stream:
            frame = pd.read_csv(
                stream,
                sep=separator,
                dtype=str,
                keep_default_na=False,
                na_filter=False,
                index_col=False,
                quoting=3 if separator == "\t" else 0,
            ).fillna("")
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path}: is empty") from error
    return frame.apply(_unquote) if separator == "\t" else frame


def _unquote(column: pd.Series) -> pd.Series:
    """Undo the quotes that spreadsheet programs write around a field of tab-separated text.

    Stray quotes, frequent in titles, are no quoting: a field must be quoted on both sides, and
    hold quotes in pairs only.
    """
    quoted = column.str.startswith('"') & column.str.endswith('"')
    if not quoted.any():
        return column
    return column.where(~quoted, column.map(_unquoted))


def _unquoted(text: str) -> str:
    whole = re.fullmatch(r'"((?:[^"]|"")*)"', text)
    return whole[1].replace('""', '"') if whole else text


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise DataError(f"{path}: reading parquet needs the package pyarrow") from error
    frame = _without_index(frame)
    return frame.convert_dtypes().astype("string").fillna("").astype(str)


def _without_index(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows by position: named levels of an index, which Parquet keeps, are columns like others."""
    named = [name for name in frame.index.names if name is not None]
    return frame.reset_index(level=named, allow_duplicates=True).reset_index(drop=True)
