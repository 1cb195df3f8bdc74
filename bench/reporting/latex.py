"""The report as LaTeX tables (package `booktabs`), one per section and kind."""

from __future__ import annotations

from collections.abc import Sequence

from bench.evaluation.metrics import Metric
from bench.reporting.rows import Row
from bench.reporting.section import Section, Table
from bench.reporting.tables import sections

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "–": "--",  # noqa: RUF001 - the dash of tables
    "<": r"$<$",
    ">": r"$>$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
} | {char: f"\\{char}" for char in "&%$#_{}"}


def latex(rows: Sequence[Row], metrics: Sequence[Metric] | None = None) -> str:
    """One `table` environment per table; a comment without rows."""
    tables = [
        _environment(section, table)
        for section in sections(rows, metrics)
        for table in section.tables
    ]
    return "\n\n".join(tables) or "% no results"


def _environment(section: Section, table: Table) -> str:
    head = f"{section.title}. {table.caption or section.intro}".rstrip(".")
    failed = [f"% failed: {' '.join(line.split())}" for line in section.failures]
    caption = " ".join([f"{head}.", *table.notes])
    columns = "l" * table.text_columns + "r" * (len(table.columns) - table.text_columns)
    body = "\n\\midrule\n".join("\n".join(_line(row) for row in block) for block in table.blocks)
    return "\n".join(
        [
            *(failed if not table.caption else []),
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped(caption)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            _line(table.columns),
            r"\midrule",
            body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _line(cells: Sequence[str]) -> str:
    return " & ".join(map(escaped, cells)) + r" \\"


def escaped(text: str) -> str:
    """The text with every character that LaTeX would interpret made literal."""
    return " ".join("".join(_SPECIAL.get(char, char) for char in text).split())
