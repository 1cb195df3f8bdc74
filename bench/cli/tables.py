"""Plain tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells, the headings first, in columns that are two spaces apart."""
    from tabulate import tabulate

    return tabulate(lines, tablefmt="plain", disable_numparse=True)
