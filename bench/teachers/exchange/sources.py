"""The files of an import: what each of them is, by its name or as it is said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench import signals
from bench.data.sources.tables import table_format
from bench.errors import ConfigError
from bench.signals import Signal
from bench.teachers.manifest import MANIFEST
from bench.teachers.reading import TORCH


def _stems(signal: Signal) -> tuple[str, ...]:
    names = [name for name in (signal.published, signal.file) if name]
    return (*(name.split(".")[0] for name in names), *signal.aliases)


ARRAYS = {
    signal.attribute.replace("_", "-"): signal for signal in signals.ARRAYS if not signal.mapped
}
"""The array that the file of a role holds."""

ROLES: dict[str, tuple[str, ...]] = {
    **{role: _stems(signal) for role, signal in ARRAYS.items()},
    "rank": ("rank",),
    "dist": ("dist",),
    "table": ("lists", "ranked_lists"),
    "valid-rankings": ("valid_rankings", "myrank_valid"),
    "test-rankings": ("test_rankings", "myrank_test"),
}
"""What a file can be, and the names (without ending) by which that is known."""

_ARRAYS = (".npy", *TORCH, ".safetensors", ".txt")
_TABLES = ("csv", "tsv", "parquet")


def locate(paths: Sequence[str], items: Path | None = None) -> dict[str, Path]:
    """The file of each role; a `teacher.json` beside the files of a folder is `manifest`.

    Args:
        paths: files and folders, each `PATH` or `ROLE=PATH`. A table has any name where it is
            given by itself, and one of `ROLES` in a folder.
        items: the file that tells the order of items, which is nothing else in a folder.

    Raises:
        ConfigError: nothing there, nothing that is known, two files of one role.
    """
    found: dict[str, Path] = {}
    for text in paths:
        role, path = _split(text)
        folder = role is None and path.is_dir()
        known = _in_folder(path, items) if folder else [(role or _role_alone(path), path)]
        for name, file in known:
            if name in found:
                raise ConfigError(f"{found[name]} and {file} are both '{name}': give one of them")
            found[name] = file
    return found


def known_roles() -> str:
    """One line about what files can be."""
    roles = "; ".join(f"{role} ({', '.join(stems)})" for role, stems in ROLES.items())
    return (
        f"Roles and the names that stand for them: {roles}. Tables are .csv, .tsv or .parquet; one "
        "that is given by itself may have any name"
    )


def _split(text: str) -> tuple[str | None, Path]:
    """The role that `ROLE=PATH` gives, None for `PATH`, and the path, which is there."""
    role, separator, rest = text.partition("=")
    given = role if separator and role in ROLES else None
    path = Path(rest if given else text)
    if path.exists():
        return given, path
    if separator and given is None:
        raise ConfigError(f"{text}: unknown role '{role}', or no such file. {known_roles()}")
    raise ConfigError(f"{path}: no such file or folder")


def _in_folder(folder: Path, items: Path | None) -> list[tuple[str, Path]]:
    order = None if items is None else items.resolve()
    files_there = [p for p in sorted(folder.iterdir()) if p.is_file() and p.resolve() != order]
    known = [(role, path) for path in files_there if (role := _role(path)) is not None]
    if (folder / MANIFEST).is_file():
        known.append(("manifest", folder / MANIFEST))
    if not known:
        there = ", ".join(path.name for path in files_there) or "nothing"
        raise ConfigError(f"{folder}: no file that is known. There: {there}. {known_roles()}")
    return known


def _role_alone(path: Path) -> str:
    """What a file is that is given by itself, where a table needs no telling name."""
    array = next((r for r, stems in ROLES.items() if r in ARRAYS and _stem(path) in stems), None)
    if table_format(path) in _TABLES and array:
        raise ConfigError(
            f"{path}: {array} are an array, and this is a table: save its numbers as .npy "
            "(numpy.save), .pt or .safetensors"
        )
    role = "table" if table_format(path) in _TABLES else _role(path)
    if role is None and path.suffix.lower() == ".npz":
        raise ConfigError(f"{path}: is an archive of arrays; save the one that counts as .npy")
    if role is None:
        raise ConfigError(f"{path}: what is it? Say ROLE=PATH. {known_roles()}")
    return role


def _stem(path: Path) -> str:
    return path.name.split(".")[0].lower()


def _role(path: Path) -> str | None:
    """What a file is by its name, or None."""
    if path.name.startswith("."):
        return None
    ending = path.suffix.lower()
    known = next((role for role, stems in ROLES.items() if _stem(path) in stems), None)
    if table_format(path) in _TABLES:
        return known if known == "table" else None
    if ending not in _ARRAYS:
        return None
    return "embeddings" if known is None and ending in (*TORCH, ".safetensors") else known
