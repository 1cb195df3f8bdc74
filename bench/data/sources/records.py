"""Records of the tables in downloaded files, one after another: only wanted columns, no table."""

from __future__ import annotations

import ast
import csv
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

import orjson

from bench.data.sources.download_config import Table
from bench.errors import DataError

Record = tuple[Any, ...]

OPTIONAL = ("title", "year", "genres")
"""Columns that a JSON object may lack."""

LISTS = ("user", "item", "position")
"""What `lists` yields: the number of the line, the item, and its place in the line."""


def records(lines: Iterator[bytes], table: Table, where: str) -> tuple[list[str], Iterator[Record]]:
    """What the columns of a table are, and their values record by record.

    Args:
        lines: of the table.
        table: its format and columns.
        where: what the table is called in messages.

    Returns:
        The roles (keys of `table.columns`), and tuples in their order. Values are as the format
        has them: texts, or whatever JSON holds, None for what it lacks.

    Raises:
        DataError: (while iterating) a line that cannot be understood, by its number.
    """
    if table.form == "lists":
        return list(LISTS), _lists(lines, where)
    roles = list(table.columns)
    if table.form in _PARSE:
        return roles, _objects(lines, table, _PARSE[table.form], where)
    return roles, _fields(lines, table, _SPLIT[table.form], where)


def _objects(
    lines: Iterator[bytes], table: Table, parse: Callable[[bytes], Any], where: str
) -> Iterator[Record]:
    pick = _picker(table)
    number = 0
    try:
        for number, line in enumerate(lines, start=1):  # noqa: B007 - for the message
            yield pick(parse(line))
    except KeyError as error:
        raise DataError(f"{where}: line {number}: no {error}") from error
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise DataError(f"{where}: line {number}: no record: {error}") from error


def _picker(table: Table) -> Callable[[Any], Record]:
    needed = itemgetter(*(name for role, name in table.columns.items() if role not in OPTIONAL))
    if not set(OPTIONAL) & set(table.columns):
        return needed
    names = list(table.columns.values())

    def pick(record: Any) -> Record:
        needed(record)
        return tuple(record.get(name) for name in names)

    return pick


def _literal(line: bytes) -> Any:
    """A Python literal, as some publishers wrote in place of JSON; nothing is executed."""
    return ast.literal_eval(line.decode("utf-8"))


def _fields(
    lines: Iterator[bytes], table: Table, split: Callable[[Iterator[str]], Any], where: str
) -> Iterator[Record]:
    number = 0
    try:
        rows = split(line.decode(table.encoding) for line in lines)
        pick = itemgetter(*_places(table, rows, where))
        for number, row in enumerate(rows, start=1):  # noqa: B007 - for the message
            yield pick(row)
    except IndexError as error:
        raise DataError(f"{where}: record {number}: has too few fields") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where}: after record {number}: {error}") from error


def _places(table: Table, rows: Iterator[list[str]], where: str) -> list[int]:
    """Where the columns stand; names are looked up in the header, which is read for that."""
    wanted = list(table.columns.values())
    numbers = [column for column in wanted if isinstance(column, int)]
    if numbers:
        return numbers
    header = [name.strip().partition(":")[0].lstrip("\ufeff") for name in next(rows, [])]
    return [_place(header, column, where) for column in wanted if not isinstance(column, int)]


def _place(header: list[str], column: str | list[str], where: str) -> int:
    names = column if isinstance(column, list) else [column]
    for name in names:
        if name in header:
            return header.index(name)
    there = ", ".join(header) or "nothing"
    raise DataError(f"{where}: no column {' or '.join(names)}. Columns: {there}")


def _lists(lines: Iterator[bytes], where: str) -> Iterator[Record]:
    for number, line in enumerate(lines):
        count, *items = line.split() or [b"0"]
        if count != b"%d" % len(items):
            raise DataError(f"{where}: line {number + 1}: does not begin with its number of items")
        for position, item in enumerate(items):
            yield number, item.decode("ascii", "replace"), position


_PARSE: dict[str, Callable[[bytes], Any]] = {"json": orjson.loads, "python": _literal}

_SPLIT: dict[str, Callable[[Iterator[str]], Any]] = {
    "csv": csv.reader,
    "tsv": lambda lines: (line.rstrip("\r\n").split("\t") for line in lines),
    "dat": lambda lines: (line.rstrip("\r\n").split("::") for line in lines),
}
