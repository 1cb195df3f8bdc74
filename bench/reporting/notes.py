"""How to read a table of results, in sentences: only what the rows in it call for."""

from __future__ import annotations

from collections.abc import Sequence

from bench.evaluation.metrics import Metric
from bench.reporting.cells import named
from bench.reporting.rows import BASELINE, SIGNIFICANT, Row


def of_tests(rows: Sequence[Row], metric: Metric) -> list[str]:
    """What is compared with what, and what p is."""
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
        f"{named(row)} is compared on {len(row.compared_seeds)} of its {len(row.seeds)} seeds."
        for row in fewer
    ]
    return notes


def of_times(rows: Sequence[Row]) -> list[str]:
    """What a multiple of the time of `none` is, and who has none."""
    notes = []
    if any(row.time_vs_none for row in rows):
        notes.append(
            "Time: seconds of training per epoch (on a CPU those of the processor) as a multiple "
            "of none's, on the seeds that both ran on one machine; evaluation and what a method "
            "prepares before its first epoch are not in it."
        )
    timed = {row.cell for row in rows if row.is_baseline and row.machine}
    apart = [
        named(row)
        for row in rows
        if row.cell in timed and row.machine and not row.is_baseline and not row.time_vs_none
    ]
    if apart:
        notes.append(f"No seed timed on one machine with none's: {'; '.join(apart)}.")
    return notes


def of_versions(rows: Sequence[Row]) -> list[str]:
    """Which rows are not today's."""
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
