"""What a teacher was built from, and whether that is what is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from bench import layers
from bench.data.examples import PreparedData
from bench.data.fingerprints import digest
from bench.errors import ConfigError
from bench.teachers.manifest import read_manifest
from bench.teachers.registry import KINDS

TEXTS = "item_texts"
"""Key in the recipe of a kind that reads item texts: their hash (`texts_hash`)."""

_REPLACE = "replace it with `bench teacher build --force`"
_RENAME = f"{_REPLACE}, or give the variant a name of its own in configs/teachers/"


def texts_hash(data: PreparedData) -> str:
    """Hash of the item texts: a kind that reads them writes it in its recipe as `TEXTS`."""
    return digest(list(data.item_texts))


def check_recipe(folder: Path, kind: str, options: BaseModel, data: PreparedData) -> None:
    """Refuse a teacher that was built otherwise than is asked for.

    Knowledge that no builder made (imported, or published files, put there by hand) is accepted as
    it is. An option that is newer than the teacher had its default.

    Args:
        folder: the teacher's folder.
        kind: which kind is asked for.
        options: resolved options of that kind.
        data: the examples and catalogue that it is about.

    Raises:
        ConfigError: another kind, other options, or other item texts.
        ArtifactError: its manifest cannot be understood.
    """
    manifest = read_manifest(folder)
    if manifest.kind == kind:
        _check_options(folder, manifest.recipe.get("options", {}), options)
    elif manifest.kind in KINDS.names():
        raise ConfigError(
            f"{folder} was built as another kind of teacher (kind is {manifest.kind} there and "
            f"{kind} here); {_RENAME}"
        )
    if manifest.recipe.get(TEXTS) not in (None, texts_hash(data)):
        raise ConfigError(
            f"{folder} was built from other item texts than those that {data.dataset} has now; "
            f"{_REPLACE}"
        )


def _check_options(folder: Path, there: dict[str, Any], options: BaseModel) -> None:
    built = layers.flat(_with_defaults(there, type(options)))
    asked = layers.flat(options.model_dump(mode="json"))
    if built == asked:
        return
    differ = ", ".join(
        f"{key} is {built.get(key)} there and {asked.get(key)} here"
        for key in sorted(built.keys() | asked.keys())
        if built.get(key) != asked.get(key)
    )
    raise ConfigError(f"{folder} was built with other options ({differ}); {_RENAME}")


def _with_defaults(built: dict[str, Any], kind: type[BaseModel]) -> dict[str, Any]:
    """Options of a teacher that is there; what they did not know yet has its default."""
    try:
        return kind.model_validate(built).model_dump(mode="json")
    except ValidationError:
        return built
