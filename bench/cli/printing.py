"""What commands say: progress beside their result, and the result as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click


def progress(line: str) -> None:
    """One line on stderr, so that stdout holds the result alone."""
    click.echo(line, err=True)


def show(content: Any, form: str, as_text: Callable[[Any], str]) -> None:
    """Print a result on stdout in the `form` that was asked for: `json`, else `as_text`."""
    click.echo(json.dumps(content, indent=2) if form == "json" else as_text(content))
