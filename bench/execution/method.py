"""The method of a trial: its class, and its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import layers
from bench.errors import BenchError, ConfigError
from bench.plan import DEFAULT_VARIANT, TrialSpec
from bench.registry import METHODS

if TYPE_CHECKING:
    from bench.distillation import Method, MethodConfig
    from bench.students.adapter import Adapter as Student


def reject_held_student(trial: TrialSpec, method: Method, student: Student) -> None:
    """Reject an attached method that has become the owner of its student.

    A torch module adopts the modules that are assigned to it: the student's parameters would be
    the method's too, and be trained and initialised as such.

    Raises:
        ConfigError: it is one.
    """
    own = {id(parameter) for parameter in method.parameters()}
    if not own.isdisjoint(map(id, student.parameters())):
        raise ConfigError(
            f"method '{trial.method}' holds the student, or a part of it, as a module of its own: "
            "keep functions of it, such as `self.encode = student.encode`"
        )


@dataclass(frozen=True)
class Requirements:
    """What a method asks for under the settings of a trial.

    Attributes:
        signals: of its teacher.
        prompt_length: see `Method.prompt_length`.
    """

    signals: frozenset[str] = frozenset()
    prompt_length: int = 0


def requirements(spec: TrialSpec) -> Requirements:
    """What the method of a trial asks for; nothing where its own code fails when it is asked.

    It fails again when the trial runs, and that is then the trial's failure and no other's. So it
    is with a method that this process may not import.

    Raises:
        ConfigError: it cannot be imported, or a setting is wrong.
    """
    if not METHODS.may_import(spec.method):
        return Requirements()  # found out where it is
    method = METHODS.load(spec.method)
    try:
        config = method_config(spec, method)
        signals, length = frozenset(method.signals(config)), method.prompt_length(config)
    except BenchError:
        raise
    except (Exception, SystemExit):  # code of anybody's
        return Requirements()
    return Requirements(signals, length if isinstance(length, int) else 0)


def method_config(trial: TrialSpec, method: type[Method]) -> MethodConfig:
    """The settings of a trial, with the defaults of its method's `Config` filled in.

    Raises:
        ConfigError: an unknown key or a wrong value.
    """
    variant = "" if trial.variant == DEFAULT_VARIANT else f":{trial.variant}"
    where = f"settings of method {trial.method}{variant}"
    return layers.build(method.Config, trial.method_settings, where)
