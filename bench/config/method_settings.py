"""Keys of a method's settings, by the schema of its `Config`, kept so that planning needs no torch.

Only `--set method.*` asks for them. The class is imported once for each version of its code.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic.errors import PydanticInvalidForJsonSchema

from bench.files import write_whole
from bench.paths import Workspace
from bench.registry import METHODS, MethodEntry


def setting_keys(entry: MethodEntry, workspace: Workspace) -> list[str] | None:
    """The settings of a method, as dotted keys such as `ranking.weight`.

    A key that ends a mapping with names of one's own stands for all that is below it.

    Returns:
        None where the schema does not tell: every key may then be a setting.

    Raises:
        ConfigError: the method cannot be imported.
    """
    if not METHODS.may_import(entry.name):
        return None
    if not entry.is_shipped:  # what it imports from elsewhere is in no digest
        return _keys_of_class(entry)
    kept = workspace.cache / "settings" / f"{entry.name}-{entry.code_digest}.json"
    try:
        known: list[str] | None = json.loads(kept.read_bytes())
    except (OSError, ValueError):
        known = _keys_of_class(entry)
        with contextlib.suppress(OSError):  # whoever may not write asks the class each time
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_whole(kept, json.dumps(known).encode())
    return known


def _keys_of_class(entry: MethodEntry) -> list[str] | None:
    try:
        schema = METHODS.load(entry.name).Config.model_json_schema()
    except PydanticInvalidForJsonSchema:
        return None
    return sorted(set(keys_of(schema, schema.get("$defs", {}))))


def keys_of(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], path: str = ""
) -> Iterator[str]:
    """The dotted keys of what a JSON schema describes.

    Args:
        schema: of a mapping or a value.
        definitions: what a `$ref` in it may mean, by name.
        path: key of what the schema describes; "" for the whole.
    """
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    choices = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]
    properties = schema.get("properties", {})
    for choice in choices:
        yield from keys_of(choice, definitions, path)
    for name, value in properties.items():
        yield from keys_of(value, definitions, f"{path}.{name}" if path else name)
    if path and not choices and not properties and schema.get("type") != "null":
        yield path
