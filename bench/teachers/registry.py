"""The kinds of teachers, known without importing any of them (imports no torch)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from bench.paths import PACKAGE
from bench.registry import SourceEntry, SourceRegistry
from bench.signals import SignalName

if TYPE_CHECKING:
    from bench.teachers.builder import Builder


class KindEntry(SourceEntry):
    """A kind of teacher as planning knows it, before anything of it is imported.

    Attributes:
        signals: what its teachers offer.
        optional: what they offer where the option of that name is true.
        needs_language_model: whether it loads a language model and takes days without a GPU: such a
            teacher is made when it is named.
        synthetic_only: whether it offers nothing on data whose truth is not known.
        per_student: whether a teacher is that of one student, which is its option `student`: a
            teacher NAME of this kind is NAME-STUDENT in the trials of that student.
        twins: controls of the same making, and the options in which they differ: a teacher NAME
            has a twin NAME-TWIN.
    """

    signals: frozenset[SignalName]
    optional: frozenset[SignalName] = frozenset()
    needs_language_model: bool = False
    synthetic_only: bool = False
    per_student: bool = False
    twins: Mapping[str, dict[str, Any]] = {}

    def offers(self, options: Mapping[str, Any]) -> set[str]:
        """The signals of a teacher with these options."""
        return {*self.signals, *(name for name in self.optional if options.get(name))}


KINDS: SourceRegistry[type[Builder], KindEntry] = SourceRegistry(
    "teacher kind",
    KindEntry,
    "bench.teachers.builder:Builder",
    "teacher",
    PACKAGE / "teachers" / "kinds",
)


def find_kind(name: object) -> KindEntry | None:
    """What is known of a kind; None for a name that building will reject."""
    return next((entry for entry in KINDS if entry.name == name), None)


def register_teacher(
    name: str,
    /,
    *,
    signals: Iterable[str],
    optional: Iterable[str] = (),
    needs_language_model: bool = False,
    synthetic_only: bool = False,
    per_student: bool = False,
    twins: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[type], type]:
    """Class decorator that makes a `Builder` available as `kind: NAME` of a teacher's file.

    Arguments are those of `KindEntry`, written as literals: they are read without importing the
    file, which is one of `bench/teachers/kinds/` or an entry point of the group `bench.teachers`.
    """

    def decorate(cls: type) -> type:
        cls.name = name  # type: ignore[attr-defined]
        return cls

    return decorate
