"""One generic registry: names to classes, lazily imported, typos and collisions refused.

Methods are found by folder and by entry point without importing them, so that listing and
planning need no torch: what a plan must know (summary, needed signals, identity of the code) is
read from the source text.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from bench.errors import ConfigError, UnknownNameError
from bench.paths import PACKAGE, shipped
from bench.source import code_digest, tree_of

T = TypeVar("T")

SIGNALS = ("embeddings", "rankings", "confidence", "truth-distance", "trajectories")
"""What a teacher can offer and a method need."""

NAME = r"[a-z0-9][a-z0-9_-]*"
"""Of a method; `:` parts it from a variant."""

_logger = logging.getLogger(__name__)


class Registry(Generic[T]):
    """Names of one kind of thing, and how to get it.

    A value is the thing itself or a lazy placeholder `"module:Attribute"`, imported by the first
    `get`.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T | str] = {}

    def register(self, name: str, value: T | str) -> None:
        """Add an entry; a second, different one under the same name is an error."""
        if self._entries.setdefault(name, value) is not value:
            raise ConfigError(f"two different {self.kind}s are called '{name}'")

    def get(self, name: str) -> T:
        """The thing called `name`, imported if it has to be.

        Raises:
            UnknownNameError: nothing has this name; the message offers the nearest one.
        """
        if name not in self._entries:
            raise UnknownNameError(self.kind, name, self._entries)
        value = self._entries[name]
        if isinstance(value, str):
            module, _, attribute = value.partition(":")
            value = self._entries[name] = getattr(importlib.import_module(module), attribute)
        return value

    def names(self) -> list[str]:
        return sorted(self._entries)


@dataclass(frozen=True)
class MethodEntry:
    """A method as its source text tells it, without importing it.

    Attributes:
        name: registered name, kebab-case.
        summary: first line of the class's docstring.
        needs: teacher signals it always needs.
        path: its file.
        module: importable name of its module, or None for a plug-in file.
    """

    name: str
    summary: str
    needs: frozenset[str]
    path: Path
    module: str | None

    @property
    def is_shipped(self) -> bool:
        """Whether it came with the suite."""
        return shipped("methods") in self.path.parents

    @property
    def code_digest(self) -> str:
        """SHA-256 of what the method computes, comments, docstrings and layout apart.

        Covers what it imports, as far as that can change what the method computes.

        Raises:
            ConfigError: one of them cannot be read.
        """
        return code_digest(self.path)

    def load(self) -> Any:
        """The method's class (imports torch)."""
        if self.module is None:
            _import_plugin(self.path)
        else:
            importlib.import_module(self.module)
        return _LOADED[self.name]


@dataclass
class MethodRegistry:
    """Methods of the `methods/` folder, of entry points and of plug-in files."""

    _found: dict[str, MethodEntry] = field(default_factory=dict)

    def discover(self) -> None:
        """Find the methods of `methods/` and those of installed packages (`bench.methods`).

        A method is `methods/NAME.py`, or `methods/NAME/method.py` where it needs files of its own.
        In a checkout the folder is the package `methods`, in a wheel it is `bench.methods`. What is
        broken is left out with a warning: the other methods still run.
        """
        folder = shipped("methods")
        package = "bench.methods" if folder.parent == PACKAGE else "methods"
        for path in sorted([*folder.glob("*.py"), *folder.glob("*/method.py")]):
            inside = path.relative_to(folder).with_suffix("").parts
            self._read_or_warn(path, ".".join([package, *inside]))
        for point in entry_points(group="bench.methods"):
            self._read_or_warn(point, point.module)

    def add_plugin(self, path: Path) -> list[MethodEntry]:
        """Register the methods of a file outside the tree.

        Raises:
            ConfigError: the file is missing, is not Python, registers no method that can be read
                from its source, or one whose name is taken.
        """
        if not path.is_file():
            raise ConfigError(f"--plugin {path}: no such file")
        entries = self._read(path.resolve(), None)
        if not entries:
            raise ConfigError(f"--plugin {path}: no class decorated with @register_method(...)")
        return entries

    def get(self, name: str) -> MethodEntry:
        if name not in self._found:
            raise UnknownNameError("method", name, self._found)
        return self._found[name]

    def __iter__(self) -> Iterator[MethodEntry]:
        return iter(sorted(self._found.values(), key=lambda entry: entry.name))

    def _read_or_warn(self, source: Path | EntryPoint, module: str) -> None:
        try:
            self._read(_file_of(source) if isinstance(source, EntryPoint) else source, module)
        except ConfigError as error:
            _logger.warning("left out: %s", error)

    def _read(self, path: Path, module: str | None) -> list[MethodEntry]:
        entries: dict[str, MethodEntry] = {}
        for entry in _entries_in(path, module):
            known = self._found.get(entry.name, entry)
            if entry.name in entries or known.path != path:
                where = " and ".join(map(str, dict.fromkeys([known.path, path])))
                raise ConfigError(f"two methods are called '{entry.name}': {where}")
            entries[entry.name] = known
        self._found |= entries
        return list(entries.values())


_LOADED: dict[str, type] = {}


def register_method(name: str, /, *, needs: Iterable[str] = ()) -> Callable[[type], type]:
    """Class decorator that makes a `bench.distillation.Method` available as `--method NAME`.

    Args:
        name: kebab-case name, written as a literal (it is read without importing the file).
        needs: teacher signals that the method always needs, a literal set of names.
    """

    def decorate(cls: type) -> type:
        cls.needs = frozenset(needs)  # type: ignore[attr-defined]
        _LOADED[name] = cls
        return cls

    return decorate


def _import_plugin(path: Path) -> None:
    """Run a plug-in's file, once in a process; one that failed is run again."""
    name = f"bench_plugin_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # noqa: S101 - a .py file
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _file_of(point: EntryPoint) -> Path:
    try:
        spec = importlib.util.find_spec(point.module)
    except Exception as error:  # finding a module imports the packages that it is in
        raise ConfigError(f"entry point '{point.name}': {point.module}: {error}") from error
    if spec is None or spec.origin is None:
        raise ConfigError(f"entry point '{point.name}': there is no module {point.module}")
    return Path(spec.origin)


def _entries_in(path: Path, module: str | None) -> Iterator[MethodEntry]:
    for node in tree_of(path).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("register_method"):
                name, needs = _registration(call, path)
                yield MethodEntry(
                    name=name,
                    summary=(ast.get_docstring(node) or "").partition("\n")[0],
                    needs=needs,
                    path=path,
                    module=module,
                )


def _registration(call: ast.Call, path: Path) -> tuple[str, frozenset[str]]:
    """Name and needs of `register_method(...)`.

    Raises:
        ConfigError: they are not literals, or no names of this kind.
    """
    where = f"{path}: line {call.lineno}: register_method"
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    name = _literal(call.args[0]) if len(call.args) == 1 else None
    if not isinstance(name, str) or not name or keywords.keys() - {"needs"}:
        raise ConfigError(
            f'{where} is read without being run: write register_method("name") or '
            'register_method("name", needs={...}), the name as a literal text'
        )
    if not re.fullmatch(NAME, name):
        raise ConfigError(f"{where}: '{name}' is no name: write it in kebab-case, as in my-method")
    needs = _literal(keywords["needs"]) if "needs" in keywords else set()
    if not isinstance(needs, set | list | tuple) or not all(isinstance(n, str) for n in needs):
        raise ConfigError(
            f"{where} is read without being run: write needs as a literal set of names, such as "
            'needs={"rankings"}'
        )
    for need in needs:
        if need not in SIGNALS:
            raise UnknownNameError("signal", need, SIGNALS, f"{where} needs")
    return name, frozenset(needs)


def _literal(node: ast.expr) -> object:
    """The value of a literal; None for anything else."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return None


METHODS = MethodRegistry()
METHODS.discover()
