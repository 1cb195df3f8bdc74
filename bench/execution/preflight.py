"""All that can be refused before hours of training, refused before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bench.errors import ConfigError
from bench.execution.fitting import unprompted, untaught
from bench.execution.inputs import Inputs
from bench.execution.method import load_method, method_config
from bench.plan import Trial, TrialSpec
from bench.students import properties

if TYPE_CHECKING:
    from bench.students.recbole import RecBoleStudent


def check_settings(trials: Iterable[TrialSpec]) -> None:
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
        if misfit := unprompted(trial):
            raise ConfigError(misfit)


def check_device(trials: Iterable[TrialSpec], device: str) -> None:
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
        name = trial.teacher_name
        if name is None:
            continue
        if misfit := untaught(trial, set(inputs.manifest(name).signals), inputs.workspace):
            raise ConfigError(misfit)
        if name not in checked:
            checked.add(name)
            inputs.knowledge(name)


def _build_student(trial: TrialSpec) -> RecBoleStudent:
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


def _refuse_precision(trial: TrialSpec, student: RecBoleStudent) -> None:
    from torch import nn

    if trial.training.precision != "bf16":
        return
    if any(isinstance(module, nn.RNNBase) for module in student.modules()):
        raise ConfigError(
            f"training.precision=bf16: student model {trial.student_config.model} has recurrent "
            "layers, which autocast computes in float16 on a CUDA device. Allowed: float32, tf32"
        )


def _refuse_training(trial: TrialSpec) -> None:
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
