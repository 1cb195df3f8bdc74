"""The report as LaTeX tables (package `booktabs`), which fit the pages of an article."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pandas as pd
from tabulate import LATEX_ESCAPE_RULES, SEPARATING_LINE, tabulate

from bench.printable import for_terminal
from bench.reporting.floats import BREAK, Float, floats
from bench.reporting.section import Section, Table
from bench.reporting.tables import sections

_HEAD, _LINE, _END = "\ue000\ue001\ue002"
"""Around and between the lines of a head, which tabulate would escape; no cell has them."""

_TYPOGRAPHY = str.maketrans(
    {
        **{"±": r"$\pm$", "·": r"$\cdot$", "–": "--", "−": "$-$"},  # noqa: RUF001
        **{_HEAD: r"\shortstack[r]{", _LINE: r"\\", _END: "}"},
    }
)

_FLOATS = 16
"""Floats in a row that every LaTeX holds back without text between them."""


def latex(board: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Floats over both columns of a page (`table*`), one or several for each table of the report.

    Captions are short, and notes stand below. Without entries it is a comment.
    """
    environments = [
        text
        for section in sections(board, runs)
        for table in section.tables
        for text in _environments(section, table)
    ]
    for place in range(_FLOATS * ((len(environments) - 1) // _FLOATS), 0, -_FLOATS):
        environments.insert(place, r"\clearpage")
    return "\n\n".join(environments).translate(_TYPOGRAPHY) or "% no results"


def _environments(section: Section, table: Table) -> Iterator[str]:
    first = not table.caption
    if first and section.failures:
        yield "\n".join(f"% failed: {_plain(line)}" for line in section.failures)
    told = replace(
        table,
        frame=table.frame.map(_plain).rename(columns=_plain),
        notes=[*([section.intro] if first else []), *table.notes],
    )
    caption = _escaped(". ".join(filter(None, [section.title, table.caption])))
    for number, part in enumerate(floats(told)):
        again = r"\addtocounter{table}{-1}" if number else ""
        named = rf"\caption{{{caption}{' (continued)' if number else ''}}}"
        body = _tabular(part, table.text_columns) if len(part.frame) else ""
        lines = [
            r"\begin{table*}",
            rf"\centering\{part.size.name}\setlength{{\tabcolsep}}{{3pt}}",
            r"\renewcommand{\arraystretch}{0.95}",
            *(again, named, body, _notes(part)),
            r"\end{table*}",
        ]
        yield "\n".join(filter(None, lines))


def _tabular(part: Float, text_columns: int) -> str:
    """A rule stands between lines that do not belong together."""
    lines: list[str | list[str]] = []
    frame = part.frame
    for index, (block, line) in enumerate(zip(frame.index, frame.to_numpy().tolist(), strict=True)):
        if index and block != frame.index[index - 1]:
            lines.append(SEPARATING_LINE)
        # The sign of a number is longer than a hyphen.
        lines.append([re.sub(r"^-(?=\d)", "−", cell) for cell in line])  # noqa: RUF001
    names = [str(name) for name in frame]
    heads = [_HEAD + name.replace(BREAK, _LINE) + _END if BREAK in name else name for name in names]
    alignment = ["left"] * text_columns + ["right"] * (len(heads) - text_columns)
    text = tabulate(lines, heads, "latex_booktabs", disable_numparse=True, colalign=alignment)
    return re.sub(
        r"^(?= *[\[*])", "{}", text, flags=re.M
    )  # which would be an option of the line's end


def _notes(part: Float) -> str:
    text = _escaped(" ".join(part.notes))
    return rf"\par\smallskip\parbox{{\textwidth}}{{{text}}}" if text else ""


def _escaped(text: str) -> str:
    """The text with every character that LaTeX would interpret made literal."""
    return "".join(LATEX_ESCAPE_RULES.get(char, char) for char in _plain(text))


def _plain(text: str) -> str:
    """One line, without what LaTeX does not read or what stands for something else here."""
    kept = re.sub(f"[{_HEAD}-{_END}]", "", " ".join(text.split()))
    return for_terminal(kept)
