"""What a search over the settings of methods found; it never looks at a test metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from bench.evaluation.metrics import parse_metric
from bench.plan import Trial
from bench.reporting.tables import MISSING, Section, Table
from bench.results.record import Record

_TEXT = ("Student", "Objective", "Method", "Teacher", "Settings")


@dataclass(frozen=True)
class Tried:
    """One of the settings of a method in a cell, over its seeds.

    Attributes:
        trial: one of its trials.
        values: validation metric that chose the epoch (`training.select`), a value per seed that
            has a result.
        epochs: the epochs that were chosen.
    """

    trial: Trial
    values: list[float]
    epochs: list[int]

    @property
    def settings(self) -> str:
        """What the search and `--set method.*` changed, such as `weight=0.1`."""
        changes = self.trial.overrides.items()
        own = {k.removeprefix("method."): v for k, v in changes if k.startswith("method.")}
        return ", ".join(f"{name}={value}" for name, value in own.items()) or "as configured"

    @property
    def value(self) -> float:
        """Mean over seeds, below every metric where no seed has a result."""
        return fmean(self.values) if self.values else -1.0


def searched(records: Sequence[Record]) -> list[Section]:
    """The tables of a search, in the order of its records: all settings, and the best of a method.

    Args:
        records: of trials, those of a search.
    """
    tried = _tried([record for record in records if record.trial])
    groups = groupby(
        tried, key=lambda t: (t.trial.dataset, t.trial.protocol, t.trial.training.select)
    )
    return [_section(list(group), records) for _, group in groups]


def _tried(records: Sequence[Record]) -> list[Tried]:
    by_settings: dict[str, list[Record]] = {}
    for record in records:
        assert record.trial is not None  # noqa: S101 - the caller keeps trials alone
        identity = record.trial.model_copy(update={"seed": 0}).key
        by_settings.setdefault(identity, []).append(record)
    return [_over_seeds(group) for group in by_settings.values()]


def _over_seeds(records: Sequence[Record]) -> Tried:
    trial = records[0].trial
    assert trial is not None  # noqa: S101 - see above
    done = [record for record in records if record.is_done]
    return Tried(
        trial=trial,
        values=[record.metrics["valid"][trial.training.select] for record in done],
        epochs=[record.best_epoch for record in done if record.best_epoch is not None],
    )


def _section(tried: list[Tried], records: Sequence[Record]) -> Section:
    first = tried[0].trial
    metric = parse_metric(first.training.select).label
    none = {_cell(t.trial): t.value for t in tried if t.trial.method == "none" and t.values}
    blocks = []
    for _, group in groupby(tried, key=lambda t: _method(t.trial)):
        settings = list(group)
        best = max(settings, key=lambda t: t.value)
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
                notes=["Best: marked is the best of the settings of each method."],
            )
        ],
        failures=[
            f"{record.trial.label}: {record.status}"
            for record in records
            if record.trial and not record.is_done and record.trial.dataset == first.dataset
        ],
    )


def _cell(trial: Trial) -> tuple[str, str]:
    return (trial.student, trial.training.model_dump_json())


def _method(trial: Trial) -> tuple[str, str, str, str, str]:
    return (*_cell(trial), trial.method_name, trial.teacher or "", trial.control or "")


def _cells(tried: Tried, none: float | None, best: bool) -> list[str]:
    trial = tried.trial
    gain = f"{100 * (tried.value / none - 1):+.1f} %" if none and tried.values else MISSING
    return [
        trial.student,
        trial.training.objective,
        trial.method_name,
        f"{trial.teacher} ({trial.control})" if trial.control else trial.teacher or MISSING,
        tried.settings,
        str(len(tried.values)),
        f"{tried.value:.4f}" if tried.values else MISSING,
        gain if trial.method != "none" else MISSING,
        f"{fmean(tried.epochs):.0f}" if tried.epochs else MISSING,
        "*" if best and tried.values else "",
    ]
