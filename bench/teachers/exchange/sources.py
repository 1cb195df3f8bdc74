"""The files of an import: what each of them is, by its name or as it is said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.data.tables import table_format
from bench.errors import ConfigError
from bench.teachers import files

ROLES: dict[str, tuple[str, ...]] = {
    "embeddings": ("all_embeddings", "embeddings", "item_embeddings"),
    "rankings": ("myrank_train", "rankings"),
    "distances": ("confidence_train", "distances"),
    "rank": ("rank",),
    "dist": ("dist",),
    "truth-distance": ("truth_distance",),
    "covered": ("covered",),
    "table": ("lists", "ranked_lists"),
}
"""What a file can be, and the names (without ending) by which that is known."""

_ARRAYS = (".npy", ".pt", ".safetensors", ".txt")


def locate(paths: Sequence[str]) -> dict[str, Path]:
    """The file of each role; a `teacher.json` beside the files of a folder is `manifest`.

    Raises:
        ConfigError: nothing there, nothing that is known, two files of one role.
    """
    found: dict[str, Path] = {}
    for text in paths:
        role, separator, rest = text.partition("=")
        given = role if separator and role in ROLES else None
        path = Path(rest if given else text)
        if not path.exists():
            if separator and given is None:
                raise ConfigError(
                    f"{text}: unknown role '{role}', or no such file. {known_roles()}"
                )
            raise ConfigError(f"{path}: no such file or folder")
        if given is None and path.is_dir():
            members = [(_role(p), p) for p in sorted(path.iterdir()) if p.is_file()]
            known = [(role, p) for role, p in members if role is not None]
            if (path / files.MANIFEST).is_file():
                known.append(("manifest", path / files.MANIFEST))
            if not known:
                raise ConfigError(f"{path}: no file that is known. {known_roles()}")
        else:
            one = given or _role(path)
            if one is None:
                raise ConfigError(f"{path}: what is it? Say ROLE=PATH. {known_roles()}")
            known = [(one, path)]
        for role, file in known:
            if role in found:
                raise ConfigError(f"{found[role]} and {file} are both '{role}': give one of them")
            found[role] = file
    return found


def known_roles() -> str:
    """One line about what files can be."""
    roles = "; ".join(f"{role} ({', '.join(stems)})" for role, stems in ROLES.items())
    return f"Roles and the names that stand for them: {roles}. Tables are .csv, .tsv or .parquet"


def _role(path: Path) -> str | None:
    if path.name.startswith("."):
        return None
    stem, ending = path.name.split(".")[0].lower(), path.suffix.lower()
    if table_format(path) in ("csv", "tsv", "parquet"):
        return "table"
    if ending not in _ARRAYS:
        return None
    known = next((role for role, stems in ROLES.items() if stem in stems), None)
    return "embeddings" if known is None and ending in (".pt", ".safetensors") else known
