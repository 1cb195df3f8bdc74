"""The report as one HTML page that loads nothing and trusts nothing it shows."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bench.evaluation.metrics import Metric
from bench.reporting.rows import Row
from bench.reporting.section import Section, Table
from bench.reporting.tables import sections

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0 }
caption { text-align: left; font-weight: 600; padding: .4rem 0 }
th, td { padding: .25rem .7rem; text-align: right; white-space: nowrap }
th.text, td.text { text-align: left }
thead th { border-bottom: 2px solid currentColor }
tbody + tbody tr:first-child td { border-top: 1px solid #8886 }
td { font-variant-numeric: tabular-nums }
.notes { color: #777; font-size: 13px; margin: 0; padding-left: 1.2rem }
.failures { border-left: 4px solid #c33; padding-left: 1rem }
.scroll { overflow-x: auto }
:root { color-scheme: light dark }
""".strip()


def html(rows: Sequence[Row], metrics: Sequence[Metric] | None = None) -> str:
    """A self-contained page; it says so if there are no rows."""
    body = "\n".join(map(_section, sections(rows, metrics))) or "<p>No results.</p>"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Leaderboards</title>\n<style>\n{_STYLE}\n</style>\n</head>\n"
        f"<body>\n<h1>Leaderboards</h1>\n{body}\n</body>\n</html>"
    )


def _section(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>", f"<p>{escape(section.intro)}</p>"]
    for table in section.tables:
        parts.append(_table(table))
        parts.append(_list("notes", table.notes))
    if section.failures:
        parts.append(f"<h3>Trials that failed: {len(section.failures)}</h3>")
        parts.append(_list("failures", section.failures))
    return "\n".join(parts)


def _table(table: Table) -> str:
    caption = f"<caption>{escape(table.caption)}</caption>\n" if table.caption else ""
    head = _line("th", table.columns, table.text_columns)
    bodies = "\n".join(
        "<tbody>\n"
        + "\n".join(_line("td", row, table.text_columns) for row in block)
        + "\n</tbody>"
        for block in table.blocks
    )
    return (
        f'<div class="scroll">\n<table>\n{caption}<thead>\n{head}\n</thead>\n{bodies}\n'
        "</table>\n</div>"
    )


def _line(tag: str, cells: Sequence[str], text_columns: int) -> str:
    marked = (
        f'<{tag} class="text">{escape(cell)}</{tag}>'
        if index < text_columns
        else f"<{tag}>{escape(cell)}</{tag}>"
        for index, cell in enumerate(cells)
    )
    return f"<tr>{''.join(marked)}</tr>"


def _list(kind: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="{kind}">{items}</ul>' if lines else ""
