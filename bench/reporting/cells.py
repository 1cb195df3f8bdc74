"""What a row says, as the text of a cell of a table."""

from __future__ import annotations

from collections.abc import Sequence

from bench.evaluation.metrics import Metric
from bench.reporting.rows import Row, Spread

MISSING = "–"  # noqa: RUF001 - the dash of tables

OF_THE_ROW = ("Student", "Objective", "Method", "Teacher")


def described(row: Row) -> list[str]:
    """What the row is of: the cells below `OF_THE_ROW`."""
    return [
        row.student or MISSING,
        row.objective or MISSING,
        row.method_label,
        row.teacher or MISSING,
    ]


def named(row: Row) -> str:
    """A row in a sentence."""
    cell = f"{row.student} ({row.objective}) " if row.student else ""
    return f"{cell}{row.method_label}" + (f", teacher {row.teacher}" if row.teacher else "")


def last_line(text: str | None) -> str:
    """What a failure ended with."""
    return (text or "no message").strip().splitlines()[-1]


def seeds(row: Row) -> str:
    """How many seeds have a result, and of how many where some failed."""
    if row.kind == "reference":
        return MISSING
    done, failed = len(row.seeds), len(row.failures)
    return f"{done} of {done + failed}" if failed else str(done)


def score(spread: Spread | None) -> str:
    """Mean and deviation of a metric."""
    if spread is None:
        return MISSING
    return f"{spread.mean:.4f}" + ("" if spread.std is None else f" ± {spread.std:.4f}")


def percent(value: float | None, *, signed: bool = False) -> str:
    """A share as tables show it, with its sign where it is a difference."""
    if value is None:
        return MISSING
    return f"{value:+.1f} %" if signed else f"{value:.0f} %"


def p_value(row: Row, metric: Metric) -> str:
    """The corrected p of a row, with its star."""
    test = row.significance.get(str(metric))
    if test is None:
        return MISSING
    text = "<0.001" if test.p_holm < 0.001 else f"{test.p_holm:.3f}"
    return f"{text} *" if test.has_star else text


def epochs(row: Row) -> str:
    """How many, and the time of one."""
    if row.epochs is None or row.epoch_seconds is None:
        return MISSING
    return f"{row.epochs.mean:.0f} x {_duration(row.epoch_seconds.mean)}"


def training(row: Row) -> str:
    """Time of all epochs, and that as a multiple of `none`'s."""
    if row.train_seconds is None:
        return MISSING
    text = _duration(row.train_seconds.mean)
    total = row.time_vs_none.get("total")
    return text if total is None else f"{text} ({times(total)})"


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def latency(row: Row, rows: Sequence[Row]) -> str:
    """Median of one request, the least that was seen of such a network among `rows`.

    Methods of a cell leave the same network, and what differs is how busy the machine was.
    """
    seen = [
        other.latency["ms_p50"]
        for other in rows
        if (other.cell, other.machine, other.parameters.get("inference"))
        == (row.cell, row.machine, row.parameters.get("inference"))
        and "ms_p50" in other.latency
    ]
    return f"{min(seen):.2f} ms" if seen else MISSING


def times(ratio: float | None) -> str:
    """A ratio."""
    return MISSING if ratio is None else f"{ratio:.1f}x"


def parameters(counts: dict[str, int]) -> str:
    """Those of the finished student, and what training needs on top."""
    if "inference" not in counts:
        return MISSING
    extra = counts.get("training", 0) - counts["inference"]
    return _short(counts["inference"]) + (f" + {_short(extra)}" if extra > 0 else "")


def _short(count: int) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return str(count)
