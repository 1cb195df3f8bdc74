"""The report as one HTML page that loads nothing and trusts nothing it shows."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pandas as pd

from bench.reporting.section import Section, Table
from bench.reporting.tables import sections

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .25rem .7rem; white-space: nowrap; vertical-align: top }
td { text-align: right; font-variant-numeric: tabular-nums }
tbody th { text-align: left; font-weight: normal }
tbody th[rowspan] { border-top: 1px solid #8886 }
.notes { color: #777; font-size: 13px; margin: 0; padding-left: 1.2rem }
.failures { border-left: 4px solid #c33; padding-left: 1rem }
.scroll { overflow-x: auto }
:root { color-scheme: light dark }
""".strip()


def html(board: pd.DataFrame, runs: pd.DataFrame) -> str:
    """A self-contained page; it says so if there are no entries."""
    body = "\n".join(map(_section, sections(board, runs))) or "<p>No results.</p>"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Leaderboards</title>\n<style>\n{_STYLE}\n</style>\n</head>\n"
        f"<body>\n<h1>Leaderboards</h1>\n{body}\n</body>\n</html>"
    )


def _section(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>", f"<p>{escape(section.intro)}</p>"]
    for table in section.tables:
        parts += [f"<h3>{escape(table.caption)}</h3>"] if table.caption else []
        parts += [f'<div class="scroll">\n{_table(table)}\n</div>', _list("notes", table.notes)]
    if section.failures:
        parts.append(f"<h3>Trials that failed: {len(section.failures)}</h3>")
        parts.append(_list("failures", section.failures))
    return "\n".join(parts)


def _table(table: Table) -> str:
    """Names are the index, which pandas merges where they repeat."""
    frame = table.frame.set_index(list(table.frame.columns[: table.text_columns]))
    with pd.option_context("display.max_colwidth", None):
        return frame.to_html(border=0, justify="right")


def _list(kind: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="{kind}">{items}</ul>' if lines else ""
