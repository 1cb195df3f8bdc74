"""Checks that teacher, student and device provide what the settings of a trial require."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Collection, Iterable, Iterator, Set
from pathlib import Path

from bench.config.grid import Grid, TeacherSource
from bench.data.sources.synthetic_config import is_synthetic
from bench.errors import ArtifactError, ConfigError
from bench.execution.devices import BFLOAT16, bfloat16_instructions
from bench.execution.inputs import Inputs
from bench.execution.method import requirements
from bench.paths import Workspace
from bench.plan import TeacherName, Trial, TrialSpec
from bench.registry import METHODS
from bench.students import abilities
from bench.teachers.config import read_teacher, teacher_kinds
from bench.teachers.manifest import read_manifest, teachers_in
from bench.training.config import TrainingConfig

_logger = logging.getLogger(__name__)

Signals = Set[str]


def drop_incompatible(
    grid: Grid, missing: Collection[TrialSpec], device: str, workspace: Workspace
) -> Grid:
    """A grid without those of its missing trials that cannot be, which are logged.

    Args:
        grid: what is planned.
        missing: what has no record yet; a trial that has one was compatible.
        device: the torch device to train on.
        workspace: where data and teachers are.

    Raises:
        ConfigError: no trial is left; or a setting of a student or method is wrong.
    """
    offered: dict[TeacherName | None, Signals | None] = {None: None}
    offered |= {name: _offered(name, source) for name, source in grid.teachers.items()}
    incompatible: set[int] = set()
    reasons: dict[str, TrialSpec] = {}
    for spec in missing:
        if found := problems(spec, offered[spec.teacher_name], device):
            incompatible.add(id(spec))
            reasons.setdefault(found[0], spec)
    left = [spec for spec in grid.trials if id(spec) not in incompatible]
    if reasons and not left:
        reason, spec = next(iter(reasons.items()))
        require_signals(spec, offered[spec.teacher_name], workspace)
        raise ConfigError(reason)
    for reason in reasons:
        _logger.info(f"left out: {reason}")
    return dataclasses.replace(grid, trials=left)


def problems(spec: TrialSpec, offered: Signals | None, device: str) -> list[str]:
    """What a trial requires and does not get; empty if it can be.

    Imports torch only where names alone do not tell.

    Args:
        spec: what is planned.
        offered: signals of its teacher; None without one, or where nobody can tell yet.
        device: the torch device to train on.

    Raises:
        ConfigError: a setting of the student or the method is wrong.
    """
    if offered is not None:
        # What a method always needs is known without importing it.
        always = METHODS.get(spec.method).needs - offered
        if missing := always or missing_signals(spec, offered):
            return [_not_offered(spec, missing, offered)]
    objectives, objective = METHODS.get(spec.method).objectives, spec.training.objective
    if objectives is not None and objective not in objectives:
        return [
            f"{spec.student} {spec.method_name}: not with training.objective={objective}. "
            f"Allowed: {', '.join(sorted(objectives))}"
        ]
    prompts = requirements(spec).prompt_length
    of_student = abilities.problems(spec.student_config, spec.training, prompts)
    return [
        *_device_problems(spec.training, device),
        *(f"{spec.student} {spec.method_name}: {problem}" for problem in of_student),
    ]


def missing_signals(spec: TrialSpec, offered: Signals | None) -> Signals:
    """Signals that a trial requires and its teacher does not offer (imports torch)."""
    if offered is None:
        return set()
    return requirements(spec).signals - offered


def require_signals(spec: TrialSpec, offered: Signals | None, workspace: Workspace) -> None:
    """Reject a teacher without the signals that a trial requires.

    Raises:
        ConfigError: one is missing; names the teachers that offer all of them.
    """
    missing = missing_signals(spec, offered)
    if offered is not None and missing:
        known = dict(_configured_teachers(spec.dataset, workspace))
        known |= dict(_built_teachers(workspace.tocf / spec.dataset))
        able = sorted(name for name, signals in known.items() if missing <= signals)
        raise ConfigError(
            f"{_not_offered(spec, missing, offered)}. Teachers that do: {', '.join(able) or 'none'}"
        )


def check_teachers(trials: Iterable[Trial], inputs: Inputs) -> None:
    """Check teachers that are built: each is whole and offers what its methods require.

    Raises:
        ConfigError: a signal is missing.
        ArtifactError: the knowledge breaks the contract.
    """
    checked = set()
    for trial in trials:
        name = trial.teacher_name
        if name is None:
            continue
        require_signals(trial, set(inputs.manifest(name).signals), inputs.workspace)
        if name not in checked:
            checked.add(name)
            inputs.knowledge(name, trial.teacher_fingerprint)


def _not_offered(spec: TrialSpec, missing: Signals, offered: Signals) -> str:
    return (
        f"{spec.dataset} {spec.method_name}: teacher '{spec.teacher}' does not offer "
        f"{', '.join(sorted(missing))} (it offers {', '.join(sorted(offered)) or 'nothing'})"
    )


def _offered(name: TeacherName, teacher: TeacherSource) -> Signals | None:
    kind = teacher.kind
    if kind and kind.synthetic_only and not is_synthetic(name[0]) and not teacher.is_there:
        return set()
    # One that is broken is rejected when it is opened, with all that is wrong with it.
    with contextlib.suppress(ArtifactError):
        return teacher.signals()
    return None


def _configured_teachers(dataset: str, workspace: Workspace) -> Iterator[tuple[str, Signals]]:
    """Those whose kind declares its signals, but for what is made for synthetic data alone."""
    for name, kind in teacher_kinds(workspace).items():
        if kind and not kind.synthetic_only:
            with contextlib.suppress(ConfigError):
                yield name, kind.offers(read_teacher(name, workspace).options_for(dataset))


def _built_teachers(folder: Path) -> Iterator[tuple[str, Signals]]:
    for name in teachers_in(folder):
        with contextlib.suppress(ArtifactError):
            yield name, set(read_manifest(folder / name).signals)


def _device_problems(training: TrainingConfig, device: str) -> list[str]:
    """Training settings that the device is not for."""
    if device.startswith("cuda"):
        return []
    found = []
    if training.precision != "float32":
        served = bfloat16_instructions() != []
        allowed = f"Allowed on {device}: float32{', bf16' * served}"
        if training.precision == "tf32":
            found.append(f"training.precision=tf32: needs a CUDA device, not {device}. {allowed}")
        elif not served:
            found.append(
                f"training.precision=bf16: this CPU has no instructions for it "
                f"({', '.join(BFLOAT16)}; `bench doctor`). {allowed}"
            )
    if training.cuda_graphs:
        found.append(
            f"training.cuda_graphs=true: needs a CUDA device, not {device}. Allowed on {device}: "
            "false"
        )
    return found
