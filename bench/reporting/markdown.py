"""The report as markdown that also reads well unrendered, on a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd
from tabulate import tabulate

from bench.reporting.section import Section, Table
from bench.reporting.tables import sections

_MARKUP = re.compile(r"[\\|`]|<(?=[^\s\d])|\*(?=\S)|(?<!\w)_(?=\S)|\](?=[(\[:])")


def markdown(board: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Sections with aligned tables; an empty text without entries."""
    return written(sections(board, runs))


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
    frame = table.frame.rename(columns=_escaped).map(_escaped)
    return pipe(list(frame.columns), frame.to_numpy().tolist(), table.text_columns)


def pipe(head: Sequence[str], lines: Sequence[Sequence[str]], text_columns: int = 1) -> str:
    """A table whose first columns are names, aligned to the left, and the others numbers."""
    alignment = ["left"] * text_columns + ["right"] * (len(head) - text_columns)
    return tabulate(lines, head, "pipe", disable_numparse=True, colalign=alignment)


def _escaped(text: str) -> str:
    """Text that can neither leave its table cell nor start markup of its own."""
    return " ".join(_MARKUP.sub(r"\\\g<0>", text).split())
