"""All cells in one table: what every method gains in each of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean

from bench.evaluation.metrics import Metric
from bench.reporting import cells
from bench.reporting.comparison import reference_gain
from bench.reporting.rows import BASELINE, Row
from bench.reporting.section import Section, Table

Cell = tuple[str, ...]
"""A table, and what rows are compared on within it."""
Line = tuple[str, str]
"""Method and teacher."""

_LABELS = (
    ("dataset", "student"),
    ("dataset", "protocol", "student"),
    ("dataset", "student", "objective"),
    ("dataset", "protocol", "student", "objective", "data_fingerprint", "cell"),
)
"""Fields that name a cell, the plainest first; digests by their first digits."""
_DIGESTS = ("data_fingerprint", "cell")


def overview(rows: Sequence[Row], metric: Metric) -> Section | None:
    """The gains of all rows as configured, a column for each cell; None of fewer than two cells.

    Args:
        rows: as `leaderboard` orders them. Left out are those with overrides, those chosen on the
            test split, and older ones than another that reads the same.
        metric: what the gains are in.
    """
    rows = [row for row in rows if row.selection == "validation" and _is_newest(row)]
    trials = [row for row in rows if row.kind == "trial" and row.seeds and not row.overrides]
    columns = _columns([row for row in trials if str(metric) in row.gain])
    if len(columns) < 2:
        return None
    controls = [row for row in trials if row.control]
    taught = [row for row in trials if not row.control]
    captioned = {
        "": [_references(rows, columns, metric), _methods(taught, columns, metric)],
        "Under controls of the teacher": [_methods(controls, columns, metric)],
    }
    return Section(
        title="Overview",
        intro=_intro(trials[0].against, metric),
        tables=[
            Table(caption, ["Method", "Teacher", *columns.values()], 2, list(filter(None, blocks)))
            for caption, blocks in captioned.items()
            if any(blocks)
        ],
        failures=[],
    )


def _is_newest(row: Row) -> bool:
    """Whether no other row reads the same: one that others do has a tag."""
    return not row.outdated and (row.current or row.tag is None)


def _intro(against: str, metric: Metric) -> str:
    alone = BASELINE if against == BASELINE else "a row that has no such counterpart"
    itself = f" (of {alone} {metric.label} itself)"
    return (
        f"Gain in {metric.label} over {against}{itself}, by dataset and student; rows of most "
        "columns first, then by their mean. *: other users and other seeds would show it. Seeds, "
        "p, segments and costs stand below."
    )


def _columns(rows: Sequence[Row]) -> dict[Cell, str]:
    """The cells of some rows, each with the shortest name that tells it apart."""
    of_cell = {_cell(row): row for row in rows}
    names: dict[Cell, str] = {}
    for fields in _LABELS:
        names = {
            cell: " ".join(_named(row, field) for field in fields) for cell, row in of_cell.items()
        }
        if len(set(names.values())) == len(names):
            break
    return names


def _named(row: Row, field: str) -> str:
    text = str(getattr(row, field))
    return text[:8] if field in _DIGESTS else text


def _references(rows: Sequence[Row], columns: Iterable[Cell], metric: Metric) -> list[list[str]]:
    """What needs no training beside `none`, if that is what is compared with."""
    none = {_cell(row): row for row in rows if row.is_baseline and row.against == BASELINE}
    lines: dict[Line, dict[Cell, str]] = defaultdict(dict)
    for row in rows:
        for cell in columns:
            if row.kind == "reference" and row.table == cell[:-1] and cell in none:
                gain = reference_gain(row, none[cell], str(metric))
                lines[_line(row)][cell] = cells.percent(gain, signed=True)
    return [_texts(line, texts, columns) for line, texts in lines.items()]


def _methods(rows: Sequence[Row], columns: Iterable[Cell], metric: Metric) -> list[list[str]]:
    """What is compared with, and then the methods: those of most cells, and the best, first."""
    lines: dict[Line, dict[Cell, Row]] = defaultdict(dict)
    for row in rows:
        lines[_line(row)][_cell(row)] = row

    def order(line: Line) -> tuple[bool, int, float]:
        of_line = lines[line].values()
        gains = [row.gain[str(metric)] for row in of_line if str(metric) in row.gain]
        return bool(gains), -len(of_line), -mean(gains or [0.0])

    return [
        _texts(line, {cell: _gain(row, metric) for cell, row in lines[line].items()}, columns)
        for line in sorted(lines, key=order)
    ]


def _gain(row: Row, metric: Metric) -> str:
    """A gain with the star of its test; the metric itself of what has none."""
    if str(metric) not in row.gain:
        return cells.score(row.metrics.get(str(metric)))
    test = row.significance.get(str(metric))
    star = " *" if test is not None and test.has_star else ""
    return cells.percent(row.gain[str(metric)], signed=True) + star


def _texts(line: Line, texts: Mapping[Cell, str], columns: Iterable[Cell]) -> list[str]:
    return [*line, *(texts.get(cell, cells.MISSING) for cell in columns)]


def _line(row: Row) -> Line:
    return row.method, row.teacher or cells.MISSING


def _cell(row: Row) -> Cell:
    return (*row.table, row.cell)
