"""Training time of a row against that of `none` in its cell, where both ran on one machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.records.record import Record
from bench.reporting.rows import Row

_MACHINE = ("machine", "device", "device_name", "cores", "threads")
"""What of a record's environment decides how long an epoch takes."""


def timed(
    rows: list[Row], baselines: Mapping[str, Row], records: Mapping[str, Record]
) -> list[Row]:
    """The rows of one table with `time_vs_none` filled in.

    Args:
        rows: of one table.
        baselines: `none` by cell.
        records: by key.
    """
    return [
        row.model_copy(
            update={"time_vs_none": _time_vs_none(row, baselines[row.cell], records)},
        )
        if row.kind == "trial" and not row.is_baseline and row.cell in baselines
        else row
        for row in rows
    ]


def train_seconds(record: Record) -> float | None:
    """Seconds that all epochs trained, evaluation apart; None where the record does not say.

    On a CPU they are seconds of the processor, which other work beside does not lengthen.
    """
    return record.timings.get(_clock(record))


def epoch_seconds(record: Record) -> float | None:
    """The same of one epoch, on average."""
    seconds = train_seconds(record)
    return seconds / record.epochs if seconds and record.epochs else None


def on_one_machine(records: Sequence[Record]) -> list[Record]:
    """Those of the machine that most of them ran on: times of several machines have no mean."""
    machines = [machine_of(record) for record in records]
    most = max(machines, key=machines.count, default=None)
    return [r for r, machine in zip(records, machines, strict=True) if machine == most]


def _time_vs_none(row: Row, none: Row, records: Mapping[str, Record]) -> dict[str, float]:
    """Ratio of seconds `epoch` by epoch and in `total`, over the seeds that compare."""
    ours, theirs = _by_seed(row, records), _by_seed(none, records)
    seeds = [
        seed
        for seed in ours.keys() & theirs.keys()
        if machine_of(ours[seed]) == machine_of(theirs[seed]) is not None
    ]
    if not seeds:
        return {}
    (our_seconds, our_epochs), (seconds, epochs) = (
        _sums([side[seed] for seed in seeds]) for side in (ours, theirs)
    )
    total = our_seconds / seconds
    return {"epoch": total * epochs / our_epochs, "total": total}


def _by_seed(row: Row, records: Mapping[str, Record]) -> dict[int, Record]:
    """The records of a row that say how long they trained."""
    return {
        seed: records[key]
        for seed, key in zip(row.seeds, row.keys, strict=True)
        if epoch_seconds(records[key]) is not None
    }


def _sums(records: list[Record]) -> tuple[float, int]:
    seconds = sum(train_seconds(record) or 0.0 for record in records)
    return seconds, sum(record.epochs or 0 for record in records)


def _clock(record: Record) -> str:
    """Which timing of a record is compared."""
    on_cpu = record.environment.get("device") == "cpu" and record.timings.get("train_cpu_seconds")
    return "train_cpu_seconds" if on_cpu else "train_seconds"


def machine_of(record: Record) -> str | None:
    """What decides about seconds, to compare; None where the record does not say."""
    if not record.environment.keys() >= set(_MACHINE):
        return None
    return ", ".join([_clock(record), *(f"{record.environment[name]}" for name in _MACHINE)])
