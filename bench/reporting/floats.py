"""Tables and their notes cut to what a float of a two-column page holds.

LaTeX neither breaks a float over pages nor makes it narrower. Widths are those of Computer Modern,
estimated to 3 %: in digits, of which all are equally wide.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field

import pandas as pd

from bench.reporting.section import Table


@dataclass(frozen=True)
class Size:
    """A size of type, and how much of it a float of an article on letter paper holds.

    Attributes:
        name: of the LaTeX command.
        width: of a line, in digits.
        lines: beside the caption.
    """

    name: str
    width: float
    lines: int


SIZES = (Size("footnotesize", 106, 50), Size("scriptsize", 113, 60))
"""The first that holds a table whole is taken; what is too large for the last is cut."""

BREAK = "\n"
"""Between the lines of a column's head."""

_BETWEEN = 1.4
"""Digits between two columns."""

_SPACE = 1.5
"""Lines above the notes, and what the last of theirs leaves empty."""

_NUMBERS = 40
"""Digits of a line that names leave to numbers; longer names go on in the next line."""

_NARROWEST = 8
"""Characters of a column of names, and of a head, that may stand in one line."""

_WORD = 16
"""Characters of a word in a head that stays whole."""

_WIDTHS = {
    **dict.fromkeys("fijlt.,:;'|!()[]- –", 0.6),  # noqa: RUF001
    **dict.fromkeys("ABCDEFGHIJKLNOPQRSTUVXYZ", 1.45),
    **dict.fromkeys("mwMW%@±\\~", 1.65),
}
"""Of characters that are far from as wide as a digit."""


@dataclass
class Float:
    """What one float holds.

    Attributes:
        size: of its type.
        frame: lines of the table with heads in lines (`BREAK`); none where notes fill the float.
        notes: below the table.
    """

    size: Size
    frame: pd.DataFrame
    notes: list[str] = field(default_factory=list)


def floats(table: Table) -> list[Float]:
    """One, or several of the same table: first by columns, each with the names, then by lines.

    Notes stand behind the last lines.
    """
    for size in SIZES:
        parts = _cut(table, size)
        if len(parts) == 1:
            break
    return parts


def _cut(table: Table, size: Size) -> list[Float]:
    frame = _wrapped(table.frame, table.text_columns, size)
    parts = [
        Float(size, frame.iloc[lines, columns])
        for columns in _within_width(frame, table.text_columns, size)
        for lines in _within_height(frame, size)
    ]
    used = _height(parts[-1].frame) + _SPACE
    for note in table.notes:
        used += _width(note) / size.width
        if used > size.lines:
            parts.append(Float(size, frame[:0]))
            used = _SPACE + _width(note) / size.width
        parts[-1].notes.append(note)
    return parts


def _wrapped(frame: pd.DataFrame, text_columns: int, size: Size) -> pd.DataFrame:
    """Names that are too wide go on in lines below theirs, and heads in lines of their own."""
    limits = _limits(frame.iloc[:, :text_columns], size.width - _NUMBERS)
    lines: list[list[str]] = []
    blocks = []
    for block, line in zip(frame.index, frame.to_numpy().tolist(), strict=True):
        cells = [textwrap.wrap(cell, limit) for cell, limit in zip(line, limits, strict=False)]
        height = max([1, *map(len, cells)])
        cells += [[cell] for cell in line[text_columns:]]
        lines += (
            [*each] for each in zip(*(c + [""] * (height - len(c)) for c in cells), strict=True)
        )
        blocks += [block] * height
    made = pd.DataFrame(lines, pd.Index(blocks, dtype=frame.index.dtype), frame.columns)
    room = [max([_NARROWEST, *map(len, made.iloc[:, place])]) for place in range(made.shape[1])]
    return made.set_axis(map(_head, frame.columns, room), axis=1)


def _head(name: str, room: int) -> str:
    """In lines as wide as the column's cells; words of the field stay whole."""
    lines = textwrap.wrap(name, room, break_long_words=False)
    return BREAK.join(part for line in lines for part in textwrap.wrap(line, max(room, _WORD)))


def _limits(names: pd.DataFrame, room: float) -> list[int]:
    """Characters of each column of names, of which the widest give way to the room."""
    limits = [max([1, *map(len, names.iloc[:, place])]) for place in range(names.shape[1])]
    while sum(limits) + _BETWEEN * len(limits) > room and max(limits) > _NARROWEST:
        limits[limits.index(max(limits))] -= 1
    return limits


def _within_width(frame: pd.DataFrame, text_columns: int, size: Size) -> list[list[int]]:
    widths = [
        _BETWEEN + _widest(frame.iloc[:, place], str(head)) for place, head in enumerate(frame)
    ]
    room = size.width - sum(widths[:text_columns])
    groups: list[list[int]] = [[]]
    for column in range(text_columns, len(widths)):
        if groups[-1] and sum(widths[each] for each in [*groups[-1], column]) > room:
            groups.append([])
        groups[-1].append(column)
    return [[*range(text_columns), *group] for group in groups]


def _within_height(frame: pd.DataFrame, size: Size) -> Iterator[slice]:
    start, used = 0, 0.0
    for end, height in enumerate(_heights(frame)):
        if used + height > size.lines - _head_height(frame) and end > start:
            yield slice(start, end)
            start, used = end, 0.0
        used += height
    yield slice(start, len(frame))


def _widest(cells: pd.Series[str], head: str) -> float:
    return max(map(_width, [*cells, *head.split(BREAK)]))


def _width(text: str) -> float:
    return sum(_WIDTHS.get(char, 1.0) for char in text)


def _height(frame: pd.DataFrame) -> int:
    return sum(_heights(frame)) + _head_height(frame) if len(frame) else 0


def _heights(frame: pd.DataFrame) -> list[int]:
    """Of each line, with the rule that stands above it."""
    above = frame.index[:-1]
    return [1, *(1 + (one != other) for one, other in zip(above, frame.index[1:], strict=True))]


def _head_height(frame: pd.DataFrame) -> int:
    return max(str(head).count(BREAK) for head in frame) + 2
