"""Lines to rows: how each text format divides them, and where its quotes are none."""

from __future__ import annotations

import ast
import csv
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from bench import limits
from bench.errors import DataError

Splitter = Callable[[Iterator[str], str], Iterator[list[str]]]
"""Rows of fields, from lines and what their table is called in messages."""

Parser = Callable[[bytes], Any]
"""The object that a line is."""

JOINED, JOINED_CHARACTERS = 100, 1 << 20
"""Lines, and characters, that one quoted field of tab-separated text may have."""

REREAD, TIMES = 8 << 20, 20
"""Characters of a table that may be read again to find where quotes close: so many, or each so
many times."""

_QUOTED = re.compile(r'"([^"]*(?:""[^"]*)*)"(?=\t|$)')


def separated_by(separator: str) -> Splitter:
    """Of text whose fields are in quotes where they hold the separator, a quote or a line end."""

    def split(lines: Iterator[str], where: str) -> Iterator[list[str]]:
        return csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True)

    return split


def _tabs(lines: Iterator[str], where: str) -> Iterator[list[str]]:
    """Fields between tabs, in quotes as spreadsheet programs write them.

    Other quotes are frequent in titles: a field counts as quoted if it is so on both sides and
    holds quotes in pairs only. It may go on in the next lines if these can be no rows of their own.
    """
    ahead: deque[str] = deque()
    width = read = again = 0
    while (line := ahead.popleft() if ahead else next(lines, None)) is not None:
        row = line.rstrip("\r\n").split("\t")
        if '"' in line:
            joined, cost = _several(line, ahead, lines, width)
            row = joined or [_unquoted(field) for field in row]
            read, again = read + len(line), again + cost
            if again > limits.allowed(max(REREAD, TIMES * read)):
                raise limits.TooMuch(where, "has quotes that close nowhere, line after line")
        width = width or len(row)
        yield row


def _several(
    line: str, ahead: deque[str], lines: Iterator[str], width: int
) -> tuple[list[str] | None, int]:
    """The fields of a row whose quoted fields hold tabs or line ends; None if it is none.

    Also how many characters were read for that.
    """
    whole, taken, read = line, 0, len(line)
    while (row := _fields(whole)) is None and taken < JOINED and len(whole) < JOINED_CHARACTERS:
        if taken == len(ahead):
            if (more := next(lines, None)) is None:
                return None, read
            ahead.append(more)
        whole += ahead[taken]
        read += len(whole)
        taken += 1
    parts = [ahead[index] for index in range(taken)]
    rows = all(part.count("\t") + 1 == width for part in parts)
    if row is None or (taken and (rows or len(row) != width)):
        return None, read
    for _ in parts:
        ahead.popleft()
    return row, read


def _fields(text: str) -> list[str] | None:
    """The fields of a line; None where a quoted one does not end in it."""
    text = text.rstrip("\r\n")
    fields, start = [], 0
    left = text.count('"')
    while start <= len(text):
        quoted = _QUOTED.match(text, start)
        end = quoted.end() if quoted else text.find("\t", start)
        end = len(text) if end < 0 else end
        if not quoted and text.startswith('"', start) and left % 2:
            return None
        left -= text.count('"', start, end)
        fields.append(_unquoted(text[start:end]))
        start = end + 1
    return fields


def _unquoted(field: str) -> str:
    whole = _QUOTED.fullmatch(field)
    return whole[1].replace('""', '"') if whole else field


def _colons(lines: Iterator[str], where: str) -> Iterator[list[str]]:
    return (line.rstrip("\r\n").split("::") for line in lines)


def _lists(lines: Iterator[str], where: str) -> Iterator[list[str]]:
    """Number of the line, item and its place in the line, of lines that begin with their length."""
    yield ["user", "item", "position"]
    for number, line in enumerate(lines):
        count, *items = line.split() or ["0"]
        if count != str(len(items)):
            raise DataError(f"{where}: line {number + 1}: does not begin with its number of items")
        for position, item in enumerate(items):
            yield [str(number), item, str(position)]


def _literal(line: bytes) -> Any:
    """A Python literal, as some publishers wrote in place of JSON; nothing is executed."""
    if len(line) > limits.LITERAL:
        raise ValueError(f"a literal of {len(line):,} bytes")
    return ast.literal_eval(line.decode("utf-8"))


SPLITTERS: Mapping[str, Splitter] = {
    "csv": separated_by(","),
    "tsv": _tabs,
    "dat": _colons,
    "lists": _lists,
}
"""How text is divided into fields, by format."""

_PLAIN: Mapping[Splitter, tuple[str, tuple[str, ...]]] = {
    SPLITTERS["csv"]: (",", ('"', ", ", "\n ")),
    SPLITTERS["tsv"]: ("\t", ('"',)),
    SPLITTERS["dat"]: ("::", ()),
}
"""The separator of a format, and what makes more of a line than fields between separators."""


def columns_of(lines: list[str], split: Splitter) -> list[list[str]] | None:
    """The columns of lines that are plain fields, all of them at once.

    Returns:
        None where a line has a quote or another number of fields than the first, or is empty: then
        `split` must have a look at each.
    """
    if split not in _PLAIN:
        return None
    separator, special = _PLAIN[split]
    text = "".join(lines)
    if not text.endswith("\n"):
        text += "\n"
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if text.startswith(" ") or any(sign in text for sign in ("\r", *special)):
        return None
    fields = text.replace("\n", f"{separator}\n{separator}").split(separator)
    width = lines[0].count(separator) + 2  # with the end of the line
    columns = [fields[place:-1:width] for place in range(width)]
    whole = len(fields) == len(lines) * width + 1 and columns[-1].count("\n") == len(lines)
    return columns[:-1] if whole and width > 2 else None


PARSERS: Mapping[str, Parser] = {"json": orjson.loads, "python": _literal}
"""What lines are that hold an object each, by format."""
