"""What commands print: their result on stdout, as text or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click


def show(content: Any, form: str, as_text: Callable[[Any], str]) -> None:
    """Print a result on stdout in the `form` that was asked for: `json`, else `as_text`."""
    click.echo(json.dumps(content, indent=2) if form == "json" else as_text(content))
