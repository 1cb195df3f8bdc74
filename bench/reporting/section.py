"""What a report is made of, before it is text of one format or another."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """Cells of text under headings.

    Attributes:
        caption: what the table shows; empty for the first of a section.
        columns: the headings.
        text_columns: how many columns, from the left, hold text rather than numbers.
        blocks: rows of cells; a block is what belongs together, such as one cell of the grid.
        notes: how to read the table, a sentence each.
    """

    caption: str
    columns: list[str]
    text_columns: int
    blocks: list[list[list[str]]]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Section:
    """The tables of rows that may be compared with each other."""

    title: str
    intro: str
    tables: list[Table]
    failures: list[str]
