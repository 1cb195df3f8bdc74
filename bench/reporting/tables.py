"""Rows to tables of text, the common form that markdown, LaTeX and HTML print.

Every dataset, protocol and selection rule has its own section: the results, those under controls
of the teacher, the results by kind of target, and what a method costs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from bench.data.sources.synthetic_config import is_synthetic
from bench.evaluation.metrics import Metric, parse_metric
from bench.evaluation.segments import TARGET_SEGMENTS
from bench.reporting import cells, notes
from bench.reporting.overview import overview
from bench.reporting.rows import BASELINE, Row
from bench.reporting.section import Section, Table

DEFAULT_METRICS = (parse_metric("ndcg@20"), parse_metric("hr@20"))
"""What tables show unless told otherwise; the first is the one that is sorted by and tested."""


def sections(rows: Sequence[Row], metrics: Sequence[Metric] | None = None) -> list[Section]:
    """The sections of a report: an overview, where there is more than one cell, and every table.

    Args:
        rows: as `leaderboard` orders them.
        metrics: columns, NDCG@20 and HR@20 by default; the first is compared and tested.
    """
    metrics = metrics or DEFAULT_METRICS
    grouped = [list(group) for _, group in groupby(rows, key=lambda row: row.table)]
    titles = [title(group[0]) for group in grouped]
    whole = overview(rows, metrics[0])
    return ([whole] if whole else []) + [
        Section(
            title=f"{title} · data {group[0].table[2][:8]}" if titles.count(title) > 1 else title,
            intro=_intro(group),
            tables=[table for table in _tables(group, metrics) if table.blocks],
            failures=_failures(group),
        )
        for title, group in zip(titles, grouped, strict=True)
    ]


def _tables(rows: list[Row], metrics: Sequence[Metric]) -> list[Table]:
    taught = [row for row in rows if not row.control]
    return [
        _results(taught, metrics),
        _controls(rows, metrics[0]),
        _by_target(taught, metrics[0]),
        _price(taught, metrics[0]),
    ]


def title(row: Row) -> str:
    """The dataset and protocol of a row, and whether it was chosen on test."""
    place = f"{row.dataset} · {row.protocol}"
    return place if row.selection == "validation" else f"{place} · oracle (chosen on test)"


def _intro(rows: list[Row]) -> str:
    size = next((f"{row.test_rows:,} test rows, " for row in rows if row.test_rows), "")
    rule = (
        "epochs chosen on validation"
        if rows[0].selection == "validation"
        else "epochs chosen on the test split itself, so these numbers are upper bounds: "
        "compare them with nothing outside this section"
    )
    made_up = "Synthetic data: drawn by a generator, not seen in the world. "
    return (
        f"{made_up if is_synthetic(rows[0].dataset) else ''}"
        f"{size}ranked over the full catalogue; {rule}. Mean ± standard deviation over seeds."
    )


def _results(rows: list[Row], metrics: Sequence[Metric]) -> Table:
    tested = metrics[0]
    headings = [metric.label for metric in metrics]
    against = rows[0].against if rows else BASELINE
    return Table(
        caption="",
        columns=[*cells.OF_THE_ROW, "Seeds", *headings, f"vs {against}", "p", "Time"],
        text_columns=len(cells.OF_THE_ROW),
        blocks=_blocks(
            rows,
            lambda row: [
                cells.seeds(row),
                *(cells.score(row.metrics.get(str(metric))) for metric in metrics),
                cells.percent(row.gain.get(str(tested)), signed=True),
                cells.p_value(row, tested),
                cells.times(row.time_vs_none.get("epoch")),
            ],
        ),
        notes=[*notes.of_tests(rows, tested), *notes.of_times(rows), *notes.of_versions(rows)],
    )


def _controls(rows: list[Row], metric: Metric) -> Table:
    """Methods under a control of their teacher, beside what they gain of the teacher itself."""
    controls = [row for row in rows if row.control]
    taught = {row.uncontrolled: row for row in rows if not row.control}
    against = f"vs {rows[0].against}"

    def itself(row: Row) -> str:
        other = taught.get(row.uncontrolled)
        return cells.percent(other.gain.get(str(metric)) if other else None, signed=True)

    return Table(
        caption="Under controls of the teacher",
        columns=[*cells.OF_THE_ROW, "Seeds", metric.label, against, "p", "With the teacher"],
        text_columns=len(cells.OF_THE_ROW),
        blocks=_blocks(
            controls,
            lambda row: [
                cells.seeds(row),
                cells.score(row.metrics.get(str(metric))),
                cells.percent(row.gain.get(str(metric)), signed=True),
                cells.p_value(row, metric),
                itself(row),
            ],
        ),
        notes=[
            "A control is made of the teacher, and its worth is known: what a method gains of a "
            "shuffled one is not the teacher's knowledge. With the teacher: the gain of the same "
            f"method under the teacher itself, {against} too. p: as above."
        ],
    )


def _by_target(rows: list[Row], metric: Metric) -> Table:
    known = [
        row
        for row in rows
        if all(name in row.segments for name in TARGET_SEGMENTS)
        and any(str(metric) in row.segments[name].metrics for name in TARGET_SEGMENTS)
    ]
    sizes = {name: known[0].segments[name].rows for name in TARGET_SEGMENTS} if known else {}
    return Table(
        caption=f"{metric.label} by how often the target was a training target",
        columns=[*cells.OF_THE_ROW, *(f"{name} ({size:,} rows)" for name, size in sizes.items())],
        text_columns=len(cells.OF_THE_ROW),
        blocks=_blocks(
            known,
            lambda row: [
                cells.score(row.segments[name].metrics.get(str(metric))) for name in TARGET_SEGMENTS
            ],
        ),
        notes=["cold: never; rare: 1 to 4 times; warm: 5 times or more."],
    )


def _price(rows: list[Row], metric: Metric) -> Table:
    return Table(
        caption="What it costs, and what it gains of the teacher's lead",
        columns=[*cells.OF_THE_ROW, "Gap closed", "Epochs", "Training", "Parameters", "Latency"],
        text_columns=len(cells.OF_THE_ROW),
        blocks=_blocks(
            [row for row in rows if row.kind == "trial" and row.seeds],
            lambda row: [
                cells.percent(row.gap_closed.get(str(metric))),
                cells.epochs(row),
                cells.training(row),
                cells.parameters(row.parameters),
                cells.latency(row, rows),
            ],
        ),
        notes=[
            f"Gap closed: share of the teacher's lead over none in {metric.label} that the "
            f"student gains, {cells.MISSING} where that lead is none or not clear (p > .0001). "
            "Epochs: how many, and how long one took on average over the stages of a method. "
            "Training: all of them, and that as a multiple of none's; on a CPU in seconds of the "
            "processor. Parameters: of the finished student, and what only training needs on "
            "top. Latency: median of one request, the least that was seen of a student with as "
            "many parameters in this cell, since machines are busier at one time than at "
            "another."
        ],
    )


def _blocks(rows: list[Row], numbers: Callable[[Row], list[str]]) -> list[list[list[str]]]:
    return [
        [cells.described(row) + numbers(row) for row in block]
        for _, block in groupby(rows, key=lambda row: (row.kind, row.cell))
    ]


def _failures(rows: list[Row]) -> list[str]:
    return [
        f"{cells.named(row)}, seed {failure.seed}: "
        f"{failure.status}: {cells.last_line(failure.error)}"
        for row in rows
        for failure in row.failures
    ]
