"""What a method asks that a student or a teacher cannot give: such a trial cannot be."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.config.grid import Grid, TeacherSource
from bench.errors import ArtifactError, ConfigError
from bench.execution.method import load_method, method_config
from bench.paths import Workspace
from bench.plan import TeacherName, TrialSpec
from bench.teachers.config import SIGNALS, SYNTHETIC_ONLY, teacher_kinds
from bench.teachers.manifest import read_manifest, teachers_in

_logger = logging.getLogger(__name__)


def without_misfits(grid: Grid, workspace: Workspace) -> Grid:
    """A grid without the trials that cannot be, which are told (imports torch).

    Raises:
        ConfigError: none is left; says why.
    """
    offered = {name: _offered(source) for name, source in grid.teachers.items()}
    judged = [(trial, _misfit(trial, offered, workspace)) for trial in grid.trials]
    misfits = dict.fromkeys(misfit for _, misfit in judged if misfit)
    fitting = [trial for trial, misfit in judged if not misfit]
    if misfits and not fitting:
        raise ConfigError(next(iter(misfits)))
    for misfit in misfits:
        _logger.info(f"left out: {misfit}")
    return dataclasses.replace(grid, trials=fitting)


def unprompted(trial: TrialSpec) -> str | None:
    """Prompts that the method of a trial wants and its student does not take, if any."""
    from bench.students import prompted

    method, model = load_method(trial), trial.student_config.model
    if model in prompted.READERS or not method.prompt_length(method_config(trial, method)):
        return None
    return (
        f"method '{trial.method}' puts prompts before histories; student model {model} takes "
        f"none, {', '.join(prompted.READERS)} do"
    )


def untaught(trial: TrialSpec, offered: set[str], workspace: Workspace) -> str | None:
    """Signals that the method of a trial wants and its teacher does not offer, if any."""
    method = load_method(trial)
    missing = method.signals(method_config(trial, method)) - offered
    if not missing:
        return None
    known = dict(_configured_teachers(workspace)) | dict(
        _built_teachers(workspace.tocf / trial.dataset)
    )
    offering = sorted(name for name, signals in known.items() if missing <= signals)
    return (
        f"{trial.dataset} {trial.method_name}: teacher '{trial.teacher}' does not offer "
        f"{', '.join(sorted(missing))} (it offers {', '.join(sorted(offered))}). "
        f"Teachers that do: {', '.join(offering) or 'none'}"
    )


def _misfit(
    trial: TrialSpec, offered: Mapping[TeacherName, set[str] | None], workspace: Workspace
) -> str | None:
    misfit = unprompted(trial)
    if misfit or trial.teacher is None:
        return misfit
    signals = offered[trial.dataset, trial.protocol, trial.teacher]
    return None if signals is None else untaught(trial, signals, workspace)


def _offered(teacher: TeacherSource) -> set[str] | None:
    # One that is broken is refused when it is opened, with all that is wrong with it.
    with contextlib.suppress(ArtifactError):
        return teacher.signals()
    return None


def _configured_teachers(workspace: Workspace) -> Iterator[tuple[str, set[str]]]:
    """Those whose kind tells its signals, but for what is made for synthetic data alone."""
    for name, kind in teacher_kinds(workspace).items():
        if kind in SIGNALS and kind not in SYNTHETIC_ONLY:
            yield name, set(SIGNALS[kind])


def _built_teachers(folder: Path) -> Iterator[tuple[str, set[str]]]:
    for name in teachers_in(folder):
        with contextlib.suppress(ArtifactError):
            yield name, set(read_manifest(folder / name).signals)
