"""What RecBole says of its own sequential models, read from its files without importing it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from bench import layers
from bench.errors import ConfigError, UnknownNameError
from bench.students.abilities import ADAPTERS
from bench.students.config import StudentConfig

# Keys that the suite decides itself: the objective and the width of the history are not the
# business of a student's file.
_DECIDED_BY_THE_SUITE = frozenset({"loss_type", "transform"})


def model_names() -> list[str]:
    """Class names of RecBole's sequential models, such as `SASRec`."""
    root = _root()
    modules = {path.stem for path in (root / "model/sequential_recommender").glob("*.py")}
    described = (path.stem for path in (root / "properties/model").glob("*.yaml"))
    return sorted(name for name in described if name.lower() in modules)


def defaults(model: str) -> dict[str, Any]:
    """RecBole's own hyper-parameters of `model`, with its defaults."""
    return layers.load_yaml(_root() / f"properties/model/{model}.yaml")


def environment() -> dict[str, Any]:
    """RecBole's settings that are not a model's: field names, prefixes and the like."""
    return layers.load_yaml(_root() / "properties/overall.yaml")


def settable(model: str) -> dict[str, Any]:
    """The hyper-parameters of `model` that a student may set, with RecBole's defaults."""
    known = defaults(model).items()
    return {key: value for key, value in known if key not in _DECIDED_BY_THE_SUITE}


def check(config: StudentConfig, *, where: str = "student.") -> None:
    """Reject a model that cannot be a student, and a hyper-parameter that RecBole does not have.

    A truth value for a number is one, too, which Python would count with.

    Args:
        config: the model and its hyper-parameters.
        where: what precedes the name of a key in a message.

    Raises:
        ConfigError: RecBole is not installed, the model cannot be a student, a name in `config` is
            unknown to RecBole, or a truth value stands for a number.
    """
    able = ADAPTERS.names()
    if config.model not in {*able, *model_names()}:
        raise UnknownNameError("RecBole sequential model", config.model, able, f"{where}model")
    if config.model not in able:
        raise ConfigError(
            f"{where}model: RecBole's {config.model} cannot be used. A student scores items by the "
            "inner product of an encoded history with one item table, asks for nothing but items "
            f"and users, and runs on any device. Allowed: {', '.join(able)}"
        )
    allowed = settable(config.model)
    for key, value in config.parameters.items():
        if key not in allowed:
            raise UnknownNameError(f"parameter of {config.model}", key, allowed, f"{where}{key}")
        if isinstance(value, bool) and not isinstance(allowed[key], bool):
            raise ConfigError(f"{where}{key}: {value!r} in place of such as {allowed[key]!r}")


def _root() -> Path:
    spec = importlib.util.find_spec("recbole")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            "RecBole is not installed: run `pip install --no-deps recbole==1.2.1` "
            "(its other requirements come with the suite; Ray is not needed)"
        )
    return Path(spec.submodule_search_locations[0])
