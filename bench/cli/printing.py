"""What commands print: their result on stdout, as text or as JSON, and all else on stderr."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from bench.printable import for_screen, for_terminal


def say(result: object) -> None:
    """Print a result on stdout; whatever data hold, a terminal only shows it."""
    click.echo(for_terminal(str(result)))


def tell(message: str) -> None:
    """Print on stderr what is no result, no more than a screen of it."""
    click.echo(for_screen(message), err=True)


def show(content: Any, form: str, as_text: Callable[[Any], str]) -> None:
    """Print a result on stdout in the `form` that was asked for: `json`, else `as_text`."""
    say(json.dumps(content, indent=2) if form == "json" else as_text(content))
