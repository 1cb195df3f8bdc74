"""The report as a figure: what each method gains, how sure that is, and what it costs."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.errors import ConfigError
from bench.reporting import formatting, rules
from bench.reporting.average_rank import AverageRanks, average_ranks
from bench.reporting.overview import reference_gains
from bench.reporting.tables import tested, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, LINE, FRAME = 8.0, 0.27, 1.15
"""Inches: of the figure, and the height of a line and of what surrounds a panel."""

_DARK = """
  <style type="text/css">@media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 !important }
    [style*="fill: #ffffff"] { fill: #0d1117 !important }
    [style*="fill: #f2f2f2"] { fill: #1c2128 !important }
    [style*="stroke: #f2f2f2"] { stroke: #1c2128 !important }
    [style*="stroke: #000000"], [style*="stroke: #4c4c4c"] { stroke: #9198a1 !important }
    [style*="stroke: #ebebeb"] { stroke: #30363d !important }
  }</style>"""
"""What browsers read in dark mode: the grounds, text and lines of this figure in other colours."""

FARTHEST = 60.0
"""Percent from `none` at which a baseline or teacher is omitted: it would squeeze the rest."""


def svg(board: pd.DataFrame, runs: pd.DataFrame) -> str:
    """One panel for each setting: methods by their gain, with 95 % intervals over users and seeds.

    Filled points are those that have a star in tables. Beside a name stands the training of all
    epochs as a multiple of `none`'s. Crosses are the same methods under a control of their teacher,
    diamonds are baselines and teachers. In dark mode a browser shows it dark.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise ConfigError(
            "the format svg needs matplotlib: pip install -e '.[plots]' (or 'matplotlib>=3.8')"
        ) from error
    # Text stays text, a name may hold a dollar sign, and the same entries give the same file.
    style: Any = {"svg.fonttype": "none", "text.parse_math": False, "svg.hashsalt": "report"}
    with mpl.rc_context(style | {"font.size": 9}):
        stream = io.StringIO()
        figure(board).savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue().rstrip("\n").replace("<defs>", f"<defs>{_DARK}", 1)


def figure(board: pd.DataFrame) -> Figure:
    """The figure of a leaderboard's first metric, which matplotlib can save in other forms."""
    from matplotlib.figure import Figure

    panels = list(_panels(tested(board))) if len(board) else []
    ranked = list(average_ranks(tested(board))) if panels else []
    heights = [(len(panel.methods) + len(panel.references)) * LINE + FRAME for panel in panels]
    heights += [len(one.ranks) * LINE + FRAME for one in ranked]
    drawn = Figure(figsize=(WIDTH, sum(heights) or FRAME), layout="constrained")
    if not panels:
        drawn.text(0.5, 0.5, "No method is compared here.", ha="center")
        return drawn
    grid = drawn.subplots(len(heights), squeeze=False, height_ratios=heights)[:, 0]
    for axes, panel in zip(grid[: len(panels)], panels, strict=True):
        _draw(axes, panel)
    for axes, one in zip(grid[len(panels) :], ranked, strict=True):
        _draw_ranks(axes, one)
    return drawn


@dataclass(frozen=True)
class _Panel:
    """The entries of one setting that are compared, and what is drawn beside them."""

    methods: pd.DataFrame
    controls: pd.DataFrame
    references: pd.DataFrame


def _panels(entries: pd.DataFrame) -> Iterator[_Panel]:
    references = reference_gains(entries)
    references = references[references["gain"].abs() < FARTHEST]
    compared = entries[entries["gain"].notna()]
    for setting, group in compared.groupby("setting", sort=False):
        methods, controls = group[group["control"].isna()], group[group["control"].notna()]
        if len(methods):
            yield _Panel(methods, controls, references[references["setting"] == setting])


def _draw(axes: Axes, panel: _Panel) -> None:
    methods, references, first = panel.methods, panel.references, panel.methods.iloc[0]
    methods = methods.assign(name=_labels(methods))
    teacher = "teacher " + references["teacher"]
    references = references.assign(name=teacher.fillna(references["method"]))
    lines = pd.concat([methods, references]).sort_values("gain", kind="stable")
    for height, line in enumerate(lines.itertuples()):
        if line.kind != "trial":
            axes.plot(line.gain, height, "D", color="C1", markersize=5)
            continue
        if pd.notna(line.p):  # not known where users are missing beside the records
            axes.plot([line.gain_low, line.gain_high], [height] * 2, color="C0", linewidth=1.4)
        fill = "C0" if line.significant else "white"
        axes.plot(line.gain, height, "o", color="C0", markerfacecolor=fill)
        for gain in panel.controls["gain"][panel.controls["counterpart"] == line.entry]:
            axes.plot(gain, height, "x", color="0.45", markersize=5)
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.set_yticks(range(len(lines)), lines["name"].tolist())
    axes.set_ylim(-0.7, len(lines) - 0.3)
    counts = sorted({len(seeds.split()) for seeds in methods["compared_seeds"]})
    seeds = f"{counts[0]} to {counts[-1]} seeds" if len(counts) > 1 else f"seeds: {counts[0]}"
    axes.set_title(f"{title(methods)} · {first.student} ({first.objective}), {seeds}", loc="left")
    axes.set_xlabel(f"{rules.metric_of(methods)} vs {first.against}, %")
    _plain(axes)


def _draw_ranks(axes: Axes, found: AverageRanks) -> None:
    """Average ranks, best on top: methods whose bars do not overlap can be told apart."""
    mean, half = found.mean[::-1], found.critical / 2
    for height, rank in enumerate(mean):
        axes.plot([rank - half, rank + half], [height] * 2, color="C0", linewidth=1.4)
        axes.plot(rank, height, "o", color="C0")
    axes.axvspan(mean.iloc[-1] - half, mean.iloc[-1] + half, color="0.95", zorder=0)
    names = [f"{method} ({teacher})" if teacher else method for method, teacher in mean.index]
    axes.set_yticks(range(len(mean)), names)
    axes.set_ylim(-0.7, len(mean) - 0.3)
    datasets = len(found.ranks.columns)
    axes.set_title(f"Average rank over {datasets} datasets · {found.name}", loc="left")
    axes.set_xlabel(f"average rank, bars: critical difference {found.critical:.2f} (Nemenyi, 5 %)")
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
    for side in ("right", "top", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _labels(methods: pd.DataFrame) -> pd.Series[str]:
    """Methods, their teachers where they have several, and their price."""
    several = methods.duplicated("label", keep=False)
    teacher = (" (" + methods["teacher"] + ")").where(several)
    price = "  " + formatting.written(methods["train_vs_none"], "{:.1f}x".format)
    return methods["label"] + teacher.fillna("") + price.fillna("")
