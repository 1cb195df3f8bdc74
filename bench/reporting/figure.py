"""The report as a figure: what each method gains, how sure that is, and what it costs."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from bench.errors import ConfigError
from bench.evaluation.metrics import Metric
from bench.reporting.comparison import reference_gain
from bench.reporting.rows import BASELINE, Row, Significance
from bench.reporting.tables import DEFAULT_METRICS, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, ROW, FRAME = 8.0, 0.27, 1.15
"""Inches: of the figure, and the height of a line and of what surrounds a panel."""

FARTHEST = 60.0
"""Percent from `none` at which a reference is left out: it would press the rest together."""


def svg(rows: Sequence[Row], metrics: Sequence[Metric] | None = None) -> str:
    """One panel for each student: methods by their gain, with 95 % intervals over users and seeds.

    Filled points are those that have a star in tables. Beside a name stands the training of all
    epochs as a multiple of `none`'s. Crosses are the same methods under a control of their teacher,
    diamonds are references.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise ConfigError(
            "the format svg needs matplotlib: pip install -e '.[plots]' (or 'matplotlib>=3.8')"
        ) from error
    # Text stays text, a name may hold a dollar sign, and the same rows give the same file.
    style: Any = {"svg.fonttype": "none", "text.parse_math": False, "svg.hashsalt": "report"}
    with mpl.rc_context(style | {"font.size": 9}):
        stream = io.StringIO()
        drawn = figure(rows, (metrics or DEFAULT_METRICS)[0])
        drawn.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue().rstrip("\n")


def figure(rows: Sequence[Row], metric: Metric) -> Figure:
    """The figure itself, which matplotlib can save in other forms."""
    from matplotlib.figure import Figure

    panels = list(_panels(rows, str(metric)))
    heights = [(len(panel.methods) + len(panel.references)) * ROW + FRAME for panel in panels] or [
        FRAME
    ]
    drawn = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    if not panels:
        drawn.text(0.5, 0.5, "No method is compared here.", ha="center")
        return drawn
    grid = drawn.subplots(len(panels), squeeze=False, height_ratios=heights)
    for axes, panel in zip(grid[:, 0], panels, strict=True):
        _draw(axes, panel, metric)
    return drawn


@dataclass(frozen=True)
class _Panel:
    """The rows of one student that are compared, and what is drawn beside them."""

    methods: list[Row]
    controls: list[Row]
    references: list[tuple[str, float]]


def _panels(rows: Sequence[Row], name: str) -> Iterator[_Panel]:
    for _, group in groupby(rows, key=lambda row: row.table):
        table = list(group)
        for _, members in groupby(table, key=lambda row: row.cell):
            cell = list(members)
            compared = [row for row in cell if name in row.gain]
            methods = [row for row in compared if not row.control]
            if methods:
                controls = [row for row in compared if row.control]
                references = list(_references(table, cell, name))
                yield _Panel(methods, controls, references)


def _references(table: list[Row], cell: list[Row], name: str) -> Iterator[tuple[str, float]]:
    """Names of references and how far they are from `none`, in percent; the hopeless left out."""
    none = next((row for row in cell if row.is_baseline), None)
    if none is None or cell[0].against != BASELINE:
        return
    for row in table:
        if row.kind == "reference":
            gain = reference_gain(row, none, name)
            if gain is not None and abs(gain) < FARTHEST:
                yield f"teacher {row.teacher}" if row.teacher else row.method, gain


def _draw(axes: Axes, panel: _Panel, metric: Metric) -> None:
    name, first = str(metric), panel.methods[0]
    entries = [(row.gain.get(name, 0.0), _label(row, panel.methods), row) for row in panel.methods]
    marks = [(gain, label, None) for label, gain in panel.references]
    lines = sorted([*entries, *marks], key=lambda line: line[0])
    for height, (gain, _, row) in enumerate(lines):
        if row is None:
            axes.plot(gain, height, "D", color="C1", markersize=5)
            continue
        test = row.significance.get(name)  # not known where users are missing beside the records
        if test is not None:
            axes.plot(_interval(test, gain), [height, height], color="C0", linewidth=1.4)
        filled = test is not None and test.has_star
        axes.plot(gain, height, "o", color="C0", markerfacecolor="C0" if filled else "white")
        for control in panel.controls:
            if control.uncontrolled == row.uncontrolled:
                axes.plot(control.gain.get(name, 0.0), height, "x", color="0.45", markersize=5)
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.set_yticks(range(len(lines)), [label for _, label, _ in lines])
    axes.set_ylim(-0.7, len(lines) - 0.3)
    seeds = sorted({len(row.compared_seeds) for row in panel.methods})
    told = f"{seeds[0]} to {seeds[-1]} seeds" if len(seeds) > 1 else f"seeds: {seeds[0]}"
    axes.set_title(f"{title(first)} · {first.student} ({first.objective}), {told}", loc="left")
    axes.set_xlabel(f"{metric.label} vs {first.against}, %")
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
    for side in ("right", "top", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _interval(test: Significance, gain: float) -> tuple[float, float]:
    """The interval of the difference, in percent of what is compared with."""
    if not test.difference:
        return gain, gain
    percent = gain / test.difference
    return test.low * percent, test.high * percent


def _label(row: Row, methods: list[Row]) -> str:
    """The method, its teacher where it has several, and its price."""
    several = sum(other.method_label == row.method_label for other in methods) > 1
    teacher = f" ({row.teacher})" if several else ""
    total = row.time_vs_none.get("total")
    return f"{row.method_label}{teacher}" + (f"  {total:.1f}x" if total else "")
