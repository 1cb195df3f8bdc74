"""What a search over the settings of methods found; it never looks at a test metric."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from bench.evaluation.metrics import parse_metric
from bench.plan import Trial
from bench.records.record import Record
from bench.reporting.cells import MISSING, percent
from bench.reporting.rows import BASELINE
from bench.reporting.section import Section, Table

_TEXT = ("Student", "Objective", "Method", "Teacher", "Settings")


@dataclass(frozen=True)
class Tried:
    """One of the settings of a method in a cell: the records of its trials, one a seed."""

    records: list[Record]

    @property
    def trial(self) -> Trial:
        trial = self.records[0].trial
        assert trial is not None  # noqa: S101 - `searched` takes records of trials
        return trial

    @property
    def settings(self) -> str:
        """What the search and `--set method.*` changed, such as `weight=0.1`."""
        changes = self.trial.overrides.items()
        own = {k.removeprefix("method."): v for k, v in changes if k.startswith("method.")}
        return ", ".join(f"{name}={value}" for name, value in own.items()) or "as configured"

    @property
    def values(self) -> dict[int, float]:
        """The validation metric that chose the epoch, by seed, of every seed that has a result."""
        select = self.trial.training.select
        return {
            record.trial.seed: record.metrics_of("valid")[select]
            for record in self.records
            if record.is_done and record.trial
        }

    @property
    def rank(self) -> tuple[int, float]:
        """Number of seeds, then their mean: means over other seeds do not compare."""
        return len(self.values), fmean(self.values.values() or [0.0])

    def gain(self, none: Tried | None) -> float | None:
        """Difference to `none` in percent, on the seeds that both have; None without any."""
        ours, theirs = self.values, none.values if none else {}
        shared = ours.keys() & theirs.keys()
        base = sum(theirs[seed] for seed in shared)
        return 100 * (sum(ours[seed] for seed in shared) / base - 1) if base else None

    @property
    def epochs(self) -> list[int]:
        """The epochs that were chosen."""
        return [record.best_epoch for record in self.records if record.best_epoch is not None]


def searched(records: Sequence[Record]) -> list[Section]:
    """The tables of a search, in the order of its records: all settings, and the best of a method.

    Args:
        records: of trials, those of a search.
    """
    return [_section(tried) for tried in _grouped(_tried(records), _table)]


def _tried(records: Sequence[Record]) -> list[Tried]:
    by_settings: dict[str, list[Record]] = {}
    for record in records:
        if record.trial is not None:
            identity = record.trial.model_copy(update={"seed": 0}).key
            by_settings.setdefault(identity, []).append(record)
    return list(map(Tried, by_settings.values()))


def _grouped(tried: Iterable[Tried], key: Callable[[Trial], Any]) -> list[list[Tried]]:
    """What is alike, wherever it stands, in the order of first appearance."""
    groups: dict[Any, list[Tried]] = {}
    for one in tried:
        groups.setdefault(key(one.trial), []).append(one)
    return list(groups.values())


def _section(tried: list[Tried]) -> Section:
    first = tried[0].trial
    metric = parse_metric(first.training.select).label
    none = {_cell(t.trial): t for t in tried if t.trial.method == BASELINE}
    blocks = []
    for settings in _grouped(tried, _method):
        best = max(settings, key=lambda t: t.rank)
        blocks.append([_cells(t, none.get(_cell(t.trial)), t is best) for t in settings])
    return Section(
        title=f"{first.dataset} · {first.protocol}: search",
        intro=f"{metric} on validation, mean over seeds. Test metrics are not looked at.",
        tables=[
            Table(
                caption="",
                columns=[*_TEXT, "Seeds", f"{metric} (valid)", "vs none", "Epoch", "Best"],
                text_columns=len(_TEXT),
                blocks=blocks,
                notes=[
                    "Best: marked is the best of the settings of each method, of those with most "
                    "seeds. vs none: on the seeds that both have."
                ],
            )
        ],
        failures=[
            f"{record.trial.label}, {one.settings}: {record.status}"
            for one in tried
            for record in one.records
            if record.trial and not record.is_done
        ],
    )


def _table(trial: Trial) -> tuple[str, str, str]:
    return (trial.dataset, trial.protocol, trial.training.select)


def _cell(trial: Trial) -> tuple[str, str]:
    return (trial.student, trial.training.model_dump_json())


def _method(trial: Trial) -> tuple[str, str, str, str]:
    return (*_cell(trial), trial.method_name, trial.teacher_label or "")


def _cells(tried: Tried, none: Tried | None, best: bool) -> list[str]:
    trial, values = tried.trial, tried.values.values()
    gain = None if trial.method == BASELINE else tried.gain(none)
    return [
        trial.student,
        trial.training.objective,
        trial.method_name,
        trial.teacher_label or MISSING,
        tried.settings,
        str(len(values)),
        f"{fmean(values):.4f}" if values else MISSING,
        percent(gain, signed=True),
        f"{fmean(tried.epochs):.0f}" if tried.epochs else MISSING,
        "*" if best and values else "",
    ]
