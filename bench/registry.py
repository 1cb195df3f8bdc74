"""Registries: what there is of one kind, by name, known without importing any of it.

A `Registry` is filled by calls. A `SourceRegistry` finds decorated classes in files of the suite
and of installed packages: name, summary and arguments of the decorator are read from the source
text, so that planning needs no torch. Both import a thing when it is first loaded.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, field_validator

from bench import layers
from bench.errors import BenchError, ConfigError, Terminated, UnknownNameError, said
from bench.paths import PACKAGE, SHIPPED, shipped
from bench.signals import SignalName
from bench.source import code_digest, decorated_classes

if TYPE_CHECKING:
    from bench.distillation import Method

_logger = logging.getLogger(__name__)


class Entry(BaseModel):
    """A named thing as it is known before it is imported.

    Attributes:
        name: what it is asked for by.
        target: the thing itself, or where it is: `"module:attribute"` or `"/path/file.py:Class"`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    target: Any

    @property
    def origin(self) -> str:
        """Where it is defined, for messages."""
        return str(self.target)


class SourceEntry(Entry):
    """A decorated class as its source text describes it.

    Subclasses declare further arguments of the decorator as fields.

    Attributes:
        summary: first line of the docstring.
        path: its file.
    """

    summary: str
    path: Path

    @field_validator("name")
    @classmethod
    def _the_name_is_in_kebab_case(cls, name: str) -> str:
        # `:` separates a method from its variant.
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
            raise ValueError(f"'{name}' is no name: write it in kebab-case, as in my-name")
        return name

    @property
    def origin(self) -> str:
        return str(self.path)

    @property
    def class_name(self) -> str:
        return str(self.target).rpartition(":")[2]

    @property
    def is_shipped(self) -> bool:
        """Whether it came with the suite."""
        return not {PACKAGE, shipped("methods")}.isdisjoint(self.path.parents)

    @property
    def is_plugin(self) -> bool:
        """Whether it is in a file that was named on the command line."""
        return str(self.target).startswith(str(self.path))

    @property
    def code_digest(self) -> str:
        """SHA-256 of what it computes, comments, docstrings and layout apart (`code_digest`).

        Raises:
            ConfigError: its file, or one that it imports, cannot be read.
        """
        return code_digest(self.path)


T = TypeVar("T")
E = TypeVar("E", bound=Entry)
S = TypeVar("S", bound=SourceEntry)


class Registry(Generic[T, E]):
    """Things of one kind by name.

    Args:
        kind: what a thing is called in messages.
        entry: what is known of each.
        base: where the class is that every thing derives from, `"module:Class"`; None for none.
    """

    def __init__(self, kind: str, entry: type[E], base: str | None = None) -> None:
        self.kind = kind
        self._entry = entry
        self._base = base
        self._found: dict[str, E] = {}

    def register(self, name: str, target: T | str, **facts: Any) -> None:
        """Add a thing, or the place `"module:attribute"` that it is imported from.

        Raises:
            ConfigError: another thing has this name.
        """
        self._add(self._entry(name=name, target=target, **facts))

    def get(self, name: str) -> E:
        """What is known of the thing called `name`, without importing it.

        Raises:
            UnknownNameError: nothing has this name; the message offers the nearest one.
        """
        entries = self._entries()
        if name not in entries:
            raise UnknownNameError(self.kind, name, entries)
        return entries[name]

    def load(self, name: str) -> T:
        """The thing called `name`, imported if it has to be.

        Raises:
            UnknownNameError: nothing has this name.
            ConfigError: it cannot be imported, or is not derived from the base class.
        """
        entry = self.get(name)
        try:
            loaded = _imported(entry.target)
        except (BenchError, KeyboardInterrupt, Terminated):
            raise
        except BaseException as error:  # a file of anybody's runs
            raise ConfigError(
                f"{self.kind} '{name}' cannot be imported from {entry.origin}: "
                f"{type(error).__name__}: {said(error)}"
            ) from error
        if self._base and not issubclass(loaded, _imported(self._base)):
            raise ConfigError(
                f"{self.kind} '{name}' ({entry.origin}): class {loaded.__name__} is no "
                f"{self._base.replace(':', '.')}; derive it from that"
            )
        return loaded

    def names(self) -> list[str]:
        return sorted(self._entries())

    def __iter__(self) -> Iterator[E]:
        return iter(sorted(self._entries().values(), key=lambda entry: entry.name))

    def _entries(self) -> dict[str, E]:
        return self._found

    def _add(self, entry: E) -> None:
        known = self._found.setdefault(entry.name, entry)
        if known != entry:
            where = " and ".join(dict.fromkeys([known.origin, entry.origin]))
            raise ConfigError(f"two {self.kind}s are called '{entry.name}': {where}")


class SourceRegistry(Registry[T, S]):
    """Decorated classes of a folder of the suite, of installed packages and of plug-in files.

    Args:
        kind: what a class is called in messages.
        entry: what is known of each; its own fields are the decorator's arguments.
        base: where the class is that every one derives from, `"module:Class"`.
        word: classes are decorated with `register_WORD("name", ...)`; installed packages name
            their modules as entry points of the group `bench.WORDs`.
        folder: each class is in a file of its own here, or in `WORD.py` of a folder of its own.
    """

    def __init__(self, kind: str, entry: type[S], base: str, word: str, folder: Path):
        super().__init__(kind, entry, base)
        self._word = word
        self._folder = folder
        self._is_complete = False
        self._keeps_out = False

    @contextlib.contextmanager
    def isolated(self) -> Iterator[None]:
        """Within, nothing is imported that did not come with the suite: others run elsewhere."""
        before, self._keeps_out = self._keeps_out, True
        try:
            yield
        finally:
            self._keeps_out = before

    def may_import(self, name: str) -> bool:
        """Whether the class called `name` may be imported by this process."""
        return self.get(name).is_shipped or not self._keeps_out

    def load(self, name: str) -> T:
        """See `Registry.load`.

        Raises:
            ConfigError: besides, it may not be imported by this process.
        """
        if not self.may_import(name):
            raise ConfigError(f"{self.kind} '{name}' runs in a process of its own, not in this one")
        return super().load(name)

    def add_plugin(self, path: Path) -> list[S]:
        """Register the decorated classes of a file outside the tree.

        Raises:
            ConfigError: the file is missing, is not Python, registers nothing that can be read
                from its source, or something whose name is taken.
        """
        if not path.is_file():
            raise ConfigError(f"--plugin {path}: no such file")
        path = path.resolve()
        entries = self._read(path, str(path))
        if not entries:
            raise ConfigError(
                f"--plugin {path}: no class decorated with @register_{self._word}(...)"
            )
        return entries

    def _entries(self) -> dict[str, S]:
        """All of them; what is broken is left out with a warning, the others still run."""
        if not self._is_complete:
            self._is_complete = True
            for path in sorted(
                [*self._folder.glob("*.py"), *self._folder.glob(f"*/{self._word}.py")]
            ):
                module = ".".join(path.relative_to(SHIPPED).with_suffix("").parts)
                self._read_or_warn(path, module)
            for point in entry_points(group=f"bench.{self._word}s"):
                self._read_or_warn(point, point.module)
        return self._found

    def _read_or_warn(self, source: Path | EntryPoint, module: str) -> None:
        try:
            self._read(_file_of(source) if isinstance(source, EntryPoint) else source, module)
        except ConfigError as error:
            _logger.warning("left out: %s", error)

    def _read(self, path: Path, module: str) -> list[S]:
        """Register the decorated classes of a file, all or none of them."""
        before = dict(self._entries())
        try:
            entries = list(self._in_file(path, module))
            for entry in entries:
                self._add(entry)
        except ConfigError:
            self._found = before
            raise
        return entries

    def _in_file(self, path: Path, module: str) -> Iterator[S]:
        decorator = f"register_{self._word}"
        own = self._entry.model_fields.keys() - SourceEntry.model_fields.keys()
        for found in decorated_classes(path, decorator):
            where = f"{path}: line {found.line}: {decorator}"
            for argument in found.arguments.keys() - own:
                raise UnknownNameError("argument", argument, own, where)
            fields = {"name": found.name, "summary": found.summary, "path": path}
            target = f"{module}:{found.attribute}"
            yield layers.build(self._entry, fields | found.arguments | {"target": target}, where)


class MethodEntry(SourceEntry):
    """A method.

    Attributes:
        needs: teacher signals that it always needs.
        needs_where: settings, values of them, and the signals that are needed then.
        objectives: base objectives that it goes with; None: every one.
    """

    needs: frozenset[SignalName] = frozenset()
    needs_where: frozenset[tuple[str, str, SignalName]] = frozenset()
    objectives: frozenset[str] | None = None

    @property
    def may_need(self) -> frozenset[str]:
        """Teacher signals that it needs under some settings at least."""
        return self.needs | {signal for _, _, signal in self.needs_where}

    def needs_under(self, settings: Mapping[str, Any]) -> frozenset[str]:
        """Teacher signals that it needs under what differs from its class's defaults."""
        return self.needs | {
            s for name, value, s in self.needs_where if settings.get(name) == value
        }


METHODS: SourceRegistry[type[Method], MethodEntry] = SourceRegistry(
    "method", MethodEntry, "bench.distillation:Method", "method", shipped("methods")
)


def register_method(
    name: str,
    /,
    *,
    needs: Iterable[str] = (),
    needs_where: Iterable[tuple[str, str, str]] = (),
    objectives: Iterable[str] | None = None,
) -> Callable[[type], type]:
    """Class decorator that makes a `bench.distillation.Method` available as `--method NAME`.

    Args:
        name: kebab-case name, written as a literal (it is read without importing the file).
        needs: teacher signals that the method always needs, a literal set of names.
        needs_where: of a method that needs a teacher under some settings alone, a literal set of
            setting, value (not the default) and signal.
        objectives: base objectives that it goes with, a literal set; None: every one.
    """

    def decorate(cls: type) -> type:
        cls.needs = frozenset(needs)  # type: ignore[attr-defined]
        cls.needs_where = frozenset(needs_where)  # type: ignore[attr-defined]
        return cls

    return decorate


def entry_points(group: str) -> Iterable[EntryPoint]:
    """Entry points of a group, of the packages that are installed."""
    found: Iterable[EntryPoint] = _all_entry_points(tuple(sys.path)).select(group=group)
    return found


@functools.lru_cache(maxsize=1)
def _all_entry_points(path: tuple[str, ...]) -> Any:
    """Those of all groups: reading them takes as long as reading one group's."""
    return importlib.metadata.entry_points()


def _imported(target: Any) -> Any:
    """What `target` of an entry stands for."""
    if not isinstance(target, str):
        return target
    module, _, attribute = target.rpartition(":")
    load = _import_plugin if module.endswith(".py") else importlib.import_module
    return getattr(load(module), attribute)


def _import_plugin(path: str) -> Any:
    """Run a plug-in's file, once in a process; one that failed is run again."""
    name = f"bench_plugin_{hashlib.sha256(path.encode()).hexdigest()[:12]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None  # noqa: S101 - a .py file
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _file_of(point: EntryPoint) -> Path:
    """The file of an entry point's module, found without importing the packages that it is in.

    Raises:
        ConfigError: there is none.
    """
    places, origin, name = None, None, ""
    for part in point.module.split("."):
        name = f"{name}.{part}" if name else part
        spec = _spec_of(name, places)
        if spec is None:
            raise ConfigError(f"entry point '{point.name}': there is no module {point.module}")
        places, origin = spec.submodule_search_locations, spec.origin
    if origin is None:
        raise ConfigError(f"entry point '{point.name}': there is no file of {point.module}")
    return Path(origin)


def _spec_of(name: str, places: Sequence[str] | None) -> ModuleSpec | None:
    """What `importlib.util.find_spec` finds, given the folders of the package around it."""
    for finder in sys.meta_path:
        with contextlib.suppress(Exception):  # a finder of anybody's
            if (spec := finder.find_spec(name, places)) is not None:
                return spec
    return None
