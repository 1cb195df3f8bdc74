"""What commands print: log lines on stderr, and their result as text or JSON on stdout."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import click

from bench.progress import TaskFormatter


class StderrHandler(logging.Handler):
    """Shows log lines on stderr, so that stdout holds the result alone."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(TaskFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record), err=True)


def show_log() -> None:
    """Show what the suite logs from now on."""
    suite = logging.getLogger("bench")
    if not any(isinstance(handler, StderrHandler) for handler in suite.handlers):
        suite.addHandler(StderrHandler())


def show(content: Any, form: str, as_text: Callable[[Any], str]) -> None:
    """Print a result on stdout in the `form` that was asked for: `json`, else `as_text`."""
    click.echo(json.dumps(content, indent=2) if form == "json" else as_text(content))
