"""YAML in layers: files by name, overrides on top, models with clear errors at the end.

The user's own `configs/` folder is stronger than the shipped one, file by file. A key written
twice, an unknown key, a wrong type and an unknown name are errors that say where they are, what is
allowed there and what was probably meant.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bench import limits
from bench.errors import ConfigError, DataError, UnknownNameError, nearest
from bench.paths import Workspace
from bench.printable import is_text

KINDS = ("datasets", "students", "teachers", "methods", "suites")

LIKE = "like"
"""Key of a file that says only in what it differs from another of its kind."""

Model = TypeVar("Model", bound=BaseModel)


def names(kind: str, workspace: Workspace) -> list[str]:
    """Names of all configured things of one of `KINDS`, sorted."""
    found = (path.stem for folder in workspace.config_folders for path in _files(folder / kind))
    return sorted(set(found))


def locate(kind: str, name: str, workspace: Workspace) -> Path:
    """The strongest file that configures `name`.

    Raises:
        UnknownNameError: there is none.
    """
    for folder in workspace.config_folders:
        for path in _files(folder / kind):
            if path.stem == name:
                return path
    raise UnknownNameError(kind.removesuffix("s"), name, names(kind, workspace))


def read(kind: str, name: str, workspace: Workspace) -> dict[str, Any]:
    """The content of the file that configures `name`, over that of the file it is `like`.

    Raises:
        UnknownNameError: there is none, or none of the name that it is like.
        ConfigError: a file is not a YAML mapping, writes a key twice, or is like itself.
    """
    layers, seen = [], [name]
    while True:
        path = locate(kind, seen[-1], workspace)
        layers.append(load_yaml(path))
        like = layers[-1].pop(LIKE, None)
        if like is None:
            return merge(*reversed(layers))
        if not isinstance(like, str) or like in seen:
            raise ConfigError(f"{path}: '{LIKE}: {like}': the name of another file is expected")
        seen.append(like)


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; an empty file is an empty mapping.

    Raises:
        ConfigError: unreadable, not YAML, not a mapping with names as keys, a key twice, a
            number that is not finite, or far more than a configuration.
    """
    try:
        content = _parse(limits.read_whole(path, 4 * limits.CONFIG).decode())
    except (DataError, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {_yaml_problem(error)}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"{path}: a mapping of names to values is expected")
    _reject_odd_values(content, str(path))
    return content


def parse_override(text: str, option: str = "--set") -> tuple[str, Any]:
    """Split `key.path=value`; the value is a YAML scalar or a list of them.

    Raises:
        ConfigError: not of that form, or a number that is not finite.
    """
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key or not all(key.split(".")):
        raise ConfigError(
            f"{option} {text}: expected key=value, such as training.learning_rate=0.002"
        )
    try:
        parsed = _parse(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"{option} {text}: {_yaml_problem(error)}") from error
    scalars = parsed if isinstance(parsed, list) else [parsed]
    if any(isinstance(item, dict | list) for item in scalars):
        raise ConfigError(f"{option} {text}: the value must be a scalar or a list of scalars")
    _reject_odd_values({key: parsed}, f"{option} {text}")
    return key, parsed


def place(mapping: dict[str, Any], key: str, value: Any) -> None:
    """Set the dotted `key` of a nested mapping, making the mappings on the way.

    Raises:
        ConfigError: a part of the path is a value and no mapping.
    """
    *parents, last = key.split(".")
    for index, parent in enumerate(parents):
        mapping = mapping.setdefault(parent, {})
        if not isinstance(mapping, dict):
            raise ConfigError(f"--set {key}: '{'.'.join(parents[: index + 1])}' holds no settings")
    mapping[last] = value


def merge(*layers: Mapping[str, Any] | None) -> dict[str, Any]:
    """Nested mappings laid over one another, the last the strongest."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in (layer or {}).items():
            below = result.get(key)
            nested = isinstance(below, dict) and isinstance(value, Mapping)
            result[key] = merge(below, value) if nested else copy.deepcopy(value)
    return result


def flat(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """The values of nested mappings by their dotted keys; an empty mapping is a value."""
    result: dict[str, Any] = {}
    for key, value in mapping.items():
        nested = isinstance(value, Mapping) and value
        inner = {f"{key}.{path}": item for path, item in flat(value).items()} if nested else None
        result |= inner or {key: value}
    return result


def build(
    model: type[Model], mapping: Mapping[str, Any], where: str, also: Collection[str] = ()
) -> Model:
    """The validated model of `mapping`.

    Args:
        model: a pydantic model.
        mapping: its fields.
        where: file, override prefix or option that the mapping came from, for the message.
        also: keys that are allowed there beside those of the model, which somebody else has read.

    Raises:
        ConfigError: names every problem with its key path.
    """
    try:
        built = model.model_validate(mapping)
    except ValidationError as error:
        problems = [_problem(model, detail, also) for detail in error.errors()]
        raise ConfigError("\n".join(f"{where}: {problem}" for problem in problems)) from error
    except UnicodeError as error:
        raise ConfigError(f"{where}: holds half a character, which is no text") from error
    for path, given in _truths_for_numbers(built, mapping, ""):
        raise ConfigError(f"{where}: '{path}': a number is expected (given: {given!r})")
    return built


def load(model: type[Model], kind: str, name: str, workspace: Workspace) -> Model:
    """The validated model of the file that configures `name`.

    Args:
        model: a pydantic model.
        kind: one of `KINDS`.
        name: what is configured.
        workspace: whose files are looked through.

    Raises:
        UnknownNameError: there is no such file.
        ConfigError: it cannot be understood.
    """
    path = locate(kind, name, workspace)
    return build(model, read(kind, name, workspace), str(path), also=[LIKE])


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.yaml"))


def _problem(model: type[BaseModel], detail: ErrorDetails, also: Collection[str]) -> str:
    path = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        *parents, key = detail["loc"]
        allowed = sorted([*_fields(model, parents), *(() if parents else also)])
        hint = nearest(str(key), allowed)
        return f"unknown key '{path}'.{hint} Allowed: {', '.join(allowed) or 'none'}"
    if detail["type"] == "missing":
        return f"key '{path}' is missing"
    message = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:
        return message
    return f"'{path}': {message} (given: {detail['input']!r})"


def _truths_for_numbers(built: Any, given: Any, path: str) -> Iterator[tuple[str, bool]]:
    """Where pydantic took true for 1, or false for 0."""
    if isinstance(given, bool):
        if not isinstance(built, bool) and isinstance(built, int | float):
            yield path, given
    elif isinstance(given, Mapping):
        for key, value in given.items():
            inner = built.get(key) if isinstance(built, Mapping) else getattr(built, str(key), None)
            yield from _truths_for_numbers(inner, value, f"{path}.{key}" if path else str(key))
    elif isinstance(given, list | tuple) and isinstance(built, list | tuple):
        for one, value in zip(built, given, strict=False):
            yield from _truths_for_numbers(one, value, path)


def _fields(model: type[BaseModel], path: Iterable[Any]) -> list[str]:
    """Names of the fields of the model at `path` below `model`."""
    for part in path:
        field = model.model_fields.get(str(part))
        if field is not None:
            model = next(_models_in(field.annotation), model)
    return sorted(model.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models_in(argument)


def _reject_odd_values(content: dict[str, Any], where: str) -> None:
    """Reject what no setting can be: a number that is not finite or huge, a date, bytes, a set."""
    for key, value in _leaves(content, ""):
        if not isinstance(value, str | int | float | None):
            kind = type(value).__name__
            raise ConfigError(f"{where}: '{key}' is a {kind}: a text, number or truth is expected")
        if not is_text(key) or (isinstance(value, str) and not is_text(value)):
            raise ConfigError(f"{where}: '{key}' holds half a character, which is no text")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ConfigError(f"{where}: '{key}' must be a number that 64 bits hold")
        if _is_non_finite(value):
            raise ConfigError(f"{where}: '{key}' must be a finite number (given: {value})")


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """The scalars of nested mappings and lists, with their dotted keys."""
    if isinstance(value, dict):
        for part, inner in value.items():
            yield from _leaves(inner, f"{key}.{part}" if key else str(part))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, key)
    else:
        yield key, value


def _is_non_finite(value: Any) -> bool:
    # YAML reads `inf` and `1e400` as text and as infinity; a model would take either for a number.
    try:
        return isinstance(value, float | str) and not math.isfinite(float(value))
    except ValueError:
        return False


def _parse(text: str) -> Any:
    """Raises: YAMLError: no YAML, or more of it than a configuration ever has."""
    if len(text) > limits.allowed(limits.CONFIG):
        raise yaml.YAMLError(f"{len(text):,} characters are no configuration")
    try:
        content = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
        if limits.weight(content) > limits.allowed(limits.VALUES):
            raise yaml.YAMLError(f"stands for more than {limits.VALUES:,} values")
    except yaml.YAMLError:
        raise
    except RecursionError as error:
        raise yaml.YAMLError("nested too deep, or within itself") from error
    except Exception as error:  # what an explicit tag makes of a text that is no such thing
        raise yaml.YAMLError(f"a value is not what its tag says ({error})") from error
    return content


def _yaml_problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f"line {mark.line + 1}: " if mark else ""
    return f"{place}{getattr(error, 'problem', None) or error}"


class _Loader(yaml.SafeLoader):
    """Safe loading that rejects a key written twice, of YAML 1.2: numbers are what they look like.

    PyYAML reads YAML 1.1, where `0512` is 330, `9:20` is 560, `on` is true and `1e-3` is a text.
    """

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - those of `_CORE` alone

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # no name; rejected below, as nothing that a mapping can have for a key
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key.value}' is written twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > limits.allowed(limits.VALUES):  # merged, and that merged again, ...
            raise yaml.constructor.ConstructorError(
                None, None, f"stands for more than {limits.VALUES:,} values", node.start_mark
            )

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """A whole number, with zeros before it or not; `0o17` and `0x1f` count in 8 and 16."""
        text = str(self.construct_scalar(node))
        try:
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        except ValueError as error:  # too long for Python, or under an explicit tag
            raise yaml.constructor.ConstructorError(
                None, None, f"no whole number: {error}", node.start_mark
            ) from error


_CORE = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "merge": (r"<<", ["<"]),  # of YAML 1.1; what it looks like is what it does
}
"""Plain scalars that are no text, and how they begin (YAML 1.2.2, section 10.3.2)."""

for _tag, (_form, _begins) in _CORE.items():
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_form})\Z"), _begins
    )
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
