"""All that can be refused before hours of training, refused before."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import ArtifactError, ConfigError
from bench.execution.inputs import Inputs, teacher_of
from bench.execution.method import load_method, method_config
from bench.paths import Workspace
from bench.plan import Trial
from bench.students import properties
from bench.teachers.manifest import TeacherManifest, read_manifest, teachers_in

if TYPE_CHECKING:
    from bench.config.grid import Grid
    from bench.progress import Progress
    from bench.students.recbole import RecBoleStudent


def check_settings(trials: Iterable[Trial]) -> None:
    """Students, training and method settings; needs neither data nor teachers (imports torch).

    Raises:
        ConfigError: an unknown key, a wrong value.
    """
    built = []
    for trial in trials:
        build = (trial.student_config, trial.training.precision)
        if build not in built:
            built.append(build)
            _refuse_precision(trial, _build_student(trial))
        _refuse_training(trial)
        method_config(trial, load_method(trial))
        if misfit := _misfit(trial):
            raise ConfigError(misfit)


def without_misfits(grid: Grid, progress: Progress) -> Grid:
    """A grid without the trials whose student cannot do what their method asks, which are told.

    Where none is left the grid stays as it is, for `check_settings` to refuse.
    """
    judged = [(trial, _misfit(trial)) for trial in grid.trials]
    fitting = [trial for trial, misfit in judged if misfit is None]
    if not fitting:
        return grid
    for misfit in dict.fromkeys(misfit for _, misfit in judged if misfit):
        progress(f"left out: {misfit}")
    return dataclasses.replace(grid, trials=fitting)


def check_device(trials: Iterable[Trial], device: str) -> None:
    """Refuse what the torch device `device` cannot do.

    Raises:
        ConfigError: training settings that are for CUDA devices alone.
    """
    if device.startswith("cuda"):
        return
    for trial in trials:
        if trial.training.precision == "tf32":
            raise ConfigError(
                f"training.precision=tf32: needs a CUDA device, not {device}. Allowed on {device}: "
                "float32, bf16"
            )
        if trial.training.cuda_graphs:
            raise ConfigError(
                f"training.cuda_graphs=true: needs a CUDA device, not {device}. Allowed on "
                f"{device}: false"
            )


def check_teachers(trials: Iterable[Trial], inputs: Inputs) -> None:
    """Every teacher is whole and offers what its methods need.

    Raises:
        ConfigError: a signal is missing.
        ArtifactError: the knowledge breaks the contract.
    """
    checked = set()
    for trial in trials:
        name = teacher_of(trial)
        if name is None:
            continue
        manifest, method = inputs.manifest(name), load_method(trial)
        missing = method.signals(method_config(trial, method)) - set(manifest.signals)
        if missing:
            raise ConfigError(_missing_signals(trial, missing, manifest, inputs.workspace))
        if name not in checked:
            checked.add(name)
            inputs.knowledge(name)


def _build_student(trial: Trial) -> RecBoleStudent:
    """Build the student for a catalogue of a few items: RecBole checks values only then."""
    import torch

    from bench.students.recbole import RecBoleStudent

    properties.check(trial.student_config)
    users = torch.ones(1, dtype=torch.bool)
    try:
        return RecBoleStudent(
            trial.student_config,
            n_items=4,
            history=10,
            known_users=users,
            objective=trial.training.objective,
        )
    except Exception as error:
        raise ConfigError(
            f"student '{trial.student}' cannot be built with {trial.student_config.parameters}: "
            f"{type(error).__name__}: {error}"
        ) from error


def _refuse_precision(trial: Trial, student: RecBoleStudent) -> None:
    from torch import nn

    if trial.training.precision != "bf16":
        return
    if any(isinstance(module, nn.RNNBase) for module in student.modules()):
        raise ConfigError(
            f"training.precision=bf16: student model {trial.student_config.model} has recurrent "
            "layers, which autocast computes in float16 on a CUDA device. Allowed: float32, tf32"
        )


def _refuse_training(trial: Trial) -> None:
    """Refuse ways of training that the student's encoder is not made for."""
    from bench.students import all_positions, prompted

    model = trial.student_config.model
    if trial.training.positions != "last":
        all_positions.encoder(model)
    if trial.training.checkpointing and model not in prompted.READERS:
        able = ", ".join(prompted.READERS)
        raise ConfigError(
            f"training.checkpointing: student model {model} reads items alone; {able} read "
            "vectors, which are looked up once and then encoded part by part"
        )


def _misfit(trial: Trial) -> str | None:
    """What the method of a trial asks that its student cannot do, if anything."""
    from bench.students import prompted

    method, model = load_method(trial), trial.student_config.model
    if model in prompted.READERS or not method.prompt_length(method_config(trial, method)):
        return None
    return (
        f"method '{trial.method}' puts prompts before histories; student model {model} takes "
        f"none, {', '.join(prompted.READERS)} do"
    )


def _missing_signals(
    trial: Trial, missing: frozenset[str], manifest: TeacherManifest, workspace: Workspace
) -> str:
    offering = [
        name
        for name, signals in _built_teachers(workspace.tocf / trial.dataset)
        if missing <= signals
    ]
    return (
        f"{trial.label}: teacher '{trial.teacher}' does not offer {', '.join(sorted(missing))} "
        f"(it offers {', '.join(sorted(manifest.signals))}). "
        f"Built teachers of {trial.dataset} that do: {', '.join(sorted(offering)) or 'none'} "
        "(`bench list teachers` has those that can be built)"
    )


def _built_teachers(folder: Path) -> Iterator[tuple[str, set[str]]]:
    for name in teachers_in(folder):
        # A teacher that is broken is no offer; it is refused when it is asked for.
        with contextlib.suppress(ArtifactError):
            yield name, set(read_manifest(folder / name).signals)
