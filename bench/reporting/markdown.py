"""The report as markdown that also reads well unrendered, on a terminal."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from bench.evaluation.metrics import Metric
from bench.reporting.rows import Row
from bench.reporting.section import Section, Table
from bench.reporting.tables import sections

_MARKUP = re.compile(r"[\\|`]|<(?=[^\s\d])|\*(?=\S)|(?<!\w)_(?=\S)|\](?=[(\[:])")


def markdown(rows: Sequence[Row], metrics: Sequence[Metric] | None = None) -> str:
    """Sections with aligned tables; an empty text without rows."""
    return written(sections(rows, metrics))


def written(sections: Sequence[Section]) -> str:
    """Sections as text, without a final newline."""
    parts: list[str] = []
    for section in sections:
        parts += [f"## {_escaped(section.title)}", _escaped(section.intro), tables(section)]
        if section.failures:
            parts.append(f"**Trials that failed: {len(section.failures)}**")
            parts.append("\n".join(f"- {_escaped(line)}" for line in section.failures))
    return "\n\n".join(filter(None, parts))


def tables(section: Section) -> str:
    """The tables of a section with their captions and notes, without its heading."""
    parts: list[str] = []
    for table in section.tables:
        parts += [f"**{_escaped(table.caption)}**"] if table.caption else []
        parts += [_table(table), "\n".join(f"- {_escaped(note)}" for note in table.notes)]
    return "\n\n".join(filter(None, parts))


def marked(page: str, name: str, text: str) -> str:
    """A page with `text` between the marks of a name; a page without them ends with it."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        before, after = f"{page.rstrip()}\n\n".lstrip(), "\n"
    return f"{before}{begin}\n{text}\n{end}{after}"


def _table(table: Table) -> str:
    header = [_escaped(title) for title in table.columns]
    cells = [[_escaped(cell) for cell in row] for block in table.blocks for row in block]
    widths = [max(3, *map(_width, column)) for column in zip(header, *cells, strict=True)]

    def line(row: Sequence[str]) -> str:
        padded = [
            _pad(cell, width, left=index < table.text_columns)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [
        "-" * width if index < table.text_columns else "-" * (width - 1) + ":"
        for index, width in enumerate(widths)
    ]
    return "\n".join([line(header), line(rule), *map(line, cells)])


def _pad(text: str, width: int, *, left: bool) -> str:
    space = " " * (width - _width(text))
    return text + space if left else space + text


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _escaped(text: str) -> str:
    """Text that can neither leave its table cell nor start markup of its own."""
    return " ".join(_MARKUP.sub(r"\\\g<0>", text).split())
