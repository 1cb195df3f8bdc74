"""The report as LaTeX tables (package `booktabs`), one per section and kind."""

from __future__ import annotations

import pandas as pd
from tabulate import LATEX_ESCAPE_RULES, SEPARATING_LINE, tabulate

from bench.reporting.section import Section, Table
from bench.reporting.tables import sections

_TYPOGRAPHY = str.maketrans({"±": r"$\pm$", "·": r"$\cdot$", "–": "--"})  # noqa: RUF001

LONG = 40
"""Lines of a table that fit a page beside its caption, as large as others are set."""


def latex(board: pd.DataFrame, runs: pd.DataFrame) -> str:
    """One `table*` per table, which spans the columns of a page; a comment without entries."""
    tables = [
        _environment(section, table)
        for section in sections(board, runs)
        for table in section.tables
    ]
    return "\n\n".join(tables).translate(_TYPOGRAPHY) or "% no results"


def _environment(section: Section, table: Table) -> str:
    head = f"{section.title}. {table.caption or section.intro}".rstrip(".")
    failed = [f"% failed: {' '.join(line.split())}" for line in section.failures]
    return "\n".join(
        [
            *(failed if not table.caption else []),
            r"\begin{table*}",
            rf"\centering{_size(len(table.frame))}\setlength{{\tabcolsep}}{{3pt}}",
            r"\renewcommand{\arraystretch}{0.95}",
            rf"\caption{{{_escaped(' '.join([f'{head}.', *table.notes]))}}}",
            _tabular(table),
            r"\end{table*}",
        ]
    )


def _size(lines: int) -> str:
    """A table stands on one page: a long one is set smaller."""
    return r"\footnotesize" if lines <= LONG else r"\scriptsize"


def _tabular(table: Table) -> str:
    """A rule stands between lines that do not belong together."""
    frame = table.frame.map(_on_one_line)
    lines: list[str | list[str]] = []
    for index, (block, line) in enumerate(zip(frame.index, frame.to_numpy().tolist(), strict=True)):
        if index and block != frame.index[index - 1]:
            lines.append(SEPARATING_LINE)
        lines.append(line)
    alignment = ["left"] * table.text_columns
    alignment += ["right"] * (len(frame.columns) - table.text_columns)
    head = [*map(_on_one_line, frame.columns)]
    return tabulate(lines, head, "latex_booktabs", disable_numparse=True, colalign=alignment)


def _escaped(text: str) -> str:
    """The text with every character that LaTeX would interpret made literal."""
    return "".join(LATEX_ESCAPE_RULES.get(char, char) for char in _on_one_line(text))


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
