"""What a report is made of, before it is text of one format or another."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd


@dataclass(frozen=True)
class Table:
    """Text in columns.

    Attributes:
        caption: what the table shows; empty for the first of a section.
        frame: the cells, all of them text. Lines with the same index label belong together, such
            as the entries of one setting.
        text_columns: how many columns, from the left, hold names rather than numbers.
        notes: how to read the table, a sentence each.
    """

    caption: str
    frame: pd.DataFrame
    text_columns: int
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Section:
    """The tables of entries that may be compared with each other."""

    title: str
    intro: str
    tables: list[Table]
    failures: list[str] = field(default_factory=list)
