"""Rows of a table that cannot be used."""

from __future__ import annotations

from pathlib import Path

from bench.errors import DataError


class Faults:
    """Rows that cannot be used: skipped and counted up to a share of all, refused beyond it.

    Args:
        where: what the table is called in messages.
        share: 0..1, of the rows read so far; 0 refuses the first one.
    """

    def __init__(self, where: str | Path, share: float = 0.0) -> None:
        self.where, self.share = str(where), share
        self.name = self.where.rpartition("/")[2]
        self.count, self.rows = 0, 0
        self.first = ""

    def add(self, row: int, problem: str, count: int = 1) -> None:
        """Note `count` rows, the first of them number `row`."""
        self.first = self.first or f"{problem.replace('{row}', f'row {row}')}"
        self.count += count

    def check(self, rows: int) -> None:
        """Take `rows` more rows as read.

        Raises:
            DataError: the share is exceeded; the message is about the first row that is bad.
        """
        self.rows += rows
        if self.count > self.share * self.rows:
            count = f"{self.count:,} such rows of {self.rows:,}"
            raise DataError(f"{self.where}: {self.first} ({count})")

    def report(self) -> list[str]:
        """A line about what was skipped, if anything was."""
        if not self.count:
            return []
        return [f"skipped {self.count:,} rows of {self.name} (first: {self.first})"]
