"""Nested facts for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def listed(facts: Mapping[str, Any]) -> str:
    """Nested mappings as indented lines, a fact a line; lists of sentences have a line for each."""
    return "\n".join(_lines(facts))


def _lines(facts: Mapping[str, Any], indent: str = "") -> list[str]:
    lines = []
    width = max((len(key) for key in facts), default=0)
    for key, value in facts.items():
        label = f"{indent}{key.replace('_', ' '):<{width}}"
        if isinstance(value, Mapping) and value:
            lines += [label.rstrip(), *_lines(value, indent + "  ")]
        elif isinstance(value, list) and any(_is_sentence(item) for item in value):
            lines += [label.rstrip(), *(f"{indent}  - {item}" for item in value)]
        else:
            lines.append(f"{label}  {_text(value)}")
    return lines


def _is_sentence(value: object) -> bool:
    return isinstance(value, str) and " " in value


def _text(value: Any) -> str:
    if value in (None, {}, []):
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return str(value)
