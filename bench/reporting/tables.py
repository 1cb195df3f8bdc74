"""Rows to tables of text, the common form that markdown, LaTeX and HTML print.

Every dataset, protocol and selection rule has its own section: the results, those under controls
of the teacher, the results by kind of target, and what a method costs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from bench.data.synthetic_config import is_synthetic
from bench.evaluation.metrics import Metric, parse_metric
from bench.evaluation.segments import TARGET_SEGMENTS
from bench.reporting.rows import BASELINE, SIGNIFICANT, Row, Spread

DEFAULT_METRICS = (parse_metric("ndcg@20"), parse_metric("hr@20"))
"""What tables show unless told otherwise; the first is the one that is sorted by and tested."""

MISSING = "–"  # noqa: RUF001 - the dash of tables

_OF_THE_ROW = ("Student", "Objective", "Method", "Teacher")


@dataclass(frozen=True)
class Table:
    """Cells of text under headings.

    Attributes:
        caption: what the table shows; empty for the first of a section.
        columns: the headings.
        text_columns: how many columns, from the left, hold text rather than numbers.
        blocks: rows of cells; a block is what belongs together, such as one cell of the grid.
        notes: how to read the table, a sentence each.
    """

    caption: str
    columns: list[str]
    text_columns: int
    blocks: list[list[list[str]]]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Section:
    """The tables of rows that may be compared with each other."""

    title: str
    intro: str
    tables: list[Table]
    failures: list[str]


def sections(rows: Sequence[Row], metrics: Sequence[Metric] | None = None) -> list[Section]:
    """The sections of a report.

    Args:
        rows: as `leaderboard` orders them.
        metrics: columns, NDCG@20 and HR@20 by default; the first is compared and tested.
    """
    metrics = metrics or DEFAULT_METRICS
    grouped = [list(group) for _, group in groupby(rows, key=lambda row: row.table)]
    titles = [title(group[0]) for group in grouped]
    return [
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
        columns=[*_OF_THE_ROW, "Seeds", *headings, f"vs {against}", "p", "Time"],
        text_columns=len(_OF_THE_ROW),
        blocks=_blocks(
            rows,
            lambda row: [
                _seeds(row),
                *(_spread(row.metrics.get(str(metric))) for metric in metrics),
                percent(row.gain.get(str(tested)), signed=True),
                _p_value(row, tested),
                _times(row.time_vs_none.get("epoch")),
            ],
        ),
        notes=[*_test_notes(rows, tested), *_time_notes(rows), *_version_notes(rows)],
    )


def _controls(rows: list[Row], metric: Metric) -> Table:
    """Methods under a control of their teacher, beside what they gain of the teacher itself."""
    controls = [row for row in rows if row.control]
    taught = {row.of_one_teacher: row for row in rows if not row.control}
    against = f"vs {rows[0].against}"

    def itself(row: Row) -> str:
        other = taught.get(row.of_one_teacher)
        return percent(other.gain.get(str(metric)) if other else None, signed=True)

    return Table(
        caption="Under controls of the teacher",
        columns=[*_OF_THE_ROW, "Seeds", metric.label, against, "p", "With the teacher"],
        text_columns=len(_OF_THE_ROW),
        blocks=_blocks(
            controls,
            lambda row: [
                _seeds(row),
                _spread(row.metrics.get(str(metric))),
                percent(row.gain.get(str(metric)), signed=True),
                _p_value(row, metric),
                itself(row),
            ],
        ),
        notes=[
            "A control is made of the teacher, and its worth is known: what a method gains of a "
            "shuffled one is not the teacher's knowledge. With the teacher: the gain of the same "
            f"method under the teacher itself, {against} too. p: as above."
        ],
    )


def _test_notes(rows: list[Row], metric: Metric) -> list[str]:
    if not rows:
        return []
    other = rows[0].against
    compared = [row for row in rows if str(metric) in row.gain]
    tests = [row.significance[str(metric)] for row in rows if str(metric) in row.significance]
    notes = []
    if compared:
        notes.append(
            f"vs {other}: {metric.label} against the method {other} with the same student, "
            "objective and training, on the seeds both ran."
        )
    if other != BASELINE:
        notes.append(
            "The teacher is the same too; a control is compared with the teacher it is made of."
            if compared
            else f"vs {other}: no row here has a counterpart of {other}."
        )
    if tests:
        notes.append(
            f"p: two-sided paired test of {metric.label} over test rows, clustered by user "
            f"({tests[0].users:,} users), with the spread between seeds of all methods of the "
            f"student added; Holm-corrected over these methods; * below {SIGNIFICANT}: other users "
            "and other seeds would show it."
        )
        if not all(test.knows_seeds for test in tests):
            notes.append(
                "Where no method of a student has two seeds, p speaks for other users alone, and "
                "has no *."
            )
    elif compared:
        notes.append("p: not known, as users/ is missing or damaged beside the records.")
    if len({(row.cell, *row.compared_seeds) for row in compared}) > len({r.cell for r in compared}):
        notes.append("Rows rest on different seeds: compare their gains, not their scores.")
    fewer = [row for row in compared if row.compared_seeds != row.seeds]
    notes += [
        f"{_name(row)} is compared on {len(row.compared_seeds)} of its {len(row.seeds)} seeds."
        for row in fewer
    ]
    return notes


def _time_notes(rows: list[Row]) -> list[str]:
    if not any(row.time_vs_none for row in rows):
        return []
    return [
        "Time: seconds of training per epoch (on a CPU those of the processor) as a multiple of "
        "none's, on the seeds that both ran on one machine; evaluation and what a method prepares "
        "before its first epoch are not in it."
    ]


def _version_notes(rows: list[Row]) -> list[str]:
    older = [row for row in rows if row.tag and not row.current]
    told = {
        "made by another version of the suite, and compared with rows of the same version alone": [
            row for row in older if row.outdated
        ],
        "of older code, settings or teacher than the row that reads the same, and not among the "
        "methods that are corrected for": [row for row in older if not row.outdated],
    }
    return [
        f"{', '.join(f'#{row.tag}' for row in rows)}: {what}."
        for what, rows in told.items()
        if rows
    ]


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
        columns=[*_OF_THE_ROW, *(f"{name} ({size:,} rows)" for name, size in sizes.items())],
        text_columns=len(_OF_THE_ROW),
        blocks=_blocks(
            known,
            lambda row: [
                _spread(row.segments[name].metrics.get(str(metric))) for name in TARGET_SEGMENTS
            ],
        ),
        notes=["cold: never; rare: 1 to 4 times; warm: 5 times or more."],
    )


def _price(rows: list[Row], metric: Metric) -> Table:
    return Table(
        caption="What it costs, and what it gains of the teacher's lead",
        columns=[*_OF_THE_ROW, "Gap closed", "Epochs", "Training", "Parameters", "Latency"],
        text_columns=len(_OF_THE_ROW),
        blocks=_blocks(
            [row for row in rows if row.kind == "trial" and row.seeds],
            lambda row: [
                percent(row.gap_closed.get(str(metric))),
                _epochs(row),
                _training(row),
                _parameters(row.parameters),
                _latency(row, rows),
            ],
        ),
        notes=[
            f"Gap closed: share of the teacher's lead over none in {metric.label} that the student "
            f"gains, {MISSING} where that lead is none or not clear (p > .0001). Epochs: how many, "
            "and how long one took on average over the stages of a method. Training: all of them, "
            "and that as a multiple of none's; on a CPU in seconds of the processor. Parameters: "
            "of the finished student, and what only training needs on top. Latency: median of one "
            "request, the least that was seen of a student with as many parameters in this cell, "
            "since machines are busier at one time than at another."
        ],
    )


def _blocks(rows: list[Row], numbers: Callable[[Row], list[str]]) -> list[list[list[str]]]:
    return [
        [_described(row) + numbers(row) for row in block]
        for _, block in groupby(rows, key=lambda row: (row.kind, row.cell))
    ]


def _described(row: Row) -> list[str]:
    return [
        row.student or MISSING,
        row.objective or MISSING,
        row.method_label,
        row.teacher or MISSING,
    ]


def _failures(rows: list[Row]) -> list[str]:
    return [
        f"{_name(row)}, seed {failure.seed}: {failure.status}: {_last_line(failure.error)}"
        for row in rows
        for failure in row.failures
    ]


def _name(row: Row) -> str:
    cell = f"{row.student} ({row.objective}) " if row.student else ""
    return f"{cell}{row.method_label}" + (f", teacher {row.teacher}" if row.teacher else "")


def _last_line(text: str | None) -> str:
    return (text or "no message").strip().splitlines()[-1]


def _seeds(row: Row) -> str:
    if row.kind == "reference":
        return MISSING
    done, failed = len(row.seeds), len(row.failures)
    return f"{done} of {done + failed}" if failed else str(done)


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return MISSING
    return f"{spread.mean:.4f}" + ("" if spread.std is None else f" ± {spread.std:.4f}")


def percent(value: float | None, *, signed: bool = False) -> str:
    """A share as tables show it, with its sign where it is a difference."""
    if value is None:
        return MISSING
    return f"{value:+.1f} %" if signed else f"{value:.0f} %"


def _p_value(row: Row, metric: Metric) -> str:
    test = row.significance.get(str(metric))
    if test is None:
        return MISSING
    text = "<0.001" if test.p_holm < 0.001 else f"{test.p_holm:.3f}"
    return f"{text} *" if test.has_star else text


def _epochs(row: Row) -> str:
    if row.epochs is None or row.epoch_seconds is None:
        return MISSING
    return f"{row.epochs.mean:.0f} x {_duration(row.epoch_seconds.mean)}"


def _training(row: Row) -> str:
    if row.train_seconds is None:
        return MISSING
    text = _duration(row.train_seconds.mean)
    total = row.time_vs_none.get("total")
    return text if total is None else f"{text} ({_times(total)})"


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _latency(row: Row, rows: list[Row]) -> str:
    """Methods of a cell leave the same network, and what differs is how busy the machine was."""
    seen = [
        other.latency["ms_p50"]
        for other in rows
        if (other.cell, other.machine, other.parameters.get("inference"))
        == (row.cell, row.machine, row.parameters.get("inference"))
        and "ms_p50" in other.latency
    ]
    return f"{min(seen):.2f} ms" if seen else MISSING


def _times(ratio: float | None) -> str:
    return MISSING if ratio is None else f"{ratio:.1f}x"


def _parameters(counts: dict[str, int]) -> str:
    if "inference" not in counts:
        return MISSING
    extra = counts.get("training", 0) - counts["inference"]
    return _short(counts["inference"]) + (f" + {_short(extra)}" if extra > 0 else "")


def _short(count: int) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return str(count)
