"""Log lines and loops on a terminal, or as plain lines where there is none."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench import progress
from bench.printable import for_screen
from bench.progress import Advance, TaskFormatter

if TYPE_CHECKING:
    from rich.progress import Progress

BARS = ((100, 24), (60, 12))
"""Widths of a bar from so many columns of the terminal on; below there is no room for one."""


class Display(logging.Handler):
    """Shows log lines on stderr, so that stdout holds results alone.

    On a terminal loops are bars at its foot, and log lines run above them.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(TaskFormatter())
        self._bars: Progress | None = None

    def emit(self, record: logging.LogRecord) -> None:
        text = for_screen(self.format(record))
        if self._bars is None:
            print(text, file=sys.stderr, flush=True)  # noqa: T201
        else:
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def loop(self, description: str, total: int | None, unit: str) -> Iterator[Advance]:
        """Show a bar; see `bench.progress.Display`."""
        outermost = self._bars is None
        bars = self._bars = self._bars or _bars()
        bar = bars.add_task(for_screen(description.removesuffix(": ")), total=total, unit=unit)
        if outermost:
            bars.start()
        try:
            yield lambda steps: bars.advance(bar, steps)
        finally:
            bars.remove_task(bar)
            if outermost:
                bars.stop()
                self._bars = None


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Show what the suite logs and how far it has come, until the context ends."""
    display, suite = Display(), logging.getLogger("bench")
    before = None
    if _on_terminal():
        display.setLevel(logging.INFO)  # bars show the rest
        before = progress.install(display)
    suite.addHandler(display)
    try:
        yield
    finally:
        suite.removeHandler(display)
        if _on_terminal():
            progress.install(before)


def _on_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _bars() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column
    from rich.text import Text

    class Amount(ProgressColumn):
        """Finished and all steps of a loop."""

        def render(self, bar: Task) -> Text:
            unit, scale = bar.fields["unit"], 1
            if unit == "bytes":
                unit, scale = "MB", 1_000_000
            total = "" if bar.total is None else f"/{bar.total / scale:,.0f}"
            return Text(f"{bar.completed / scale:,.0f}{total} {unit}".rstrip(), justify="right")

    console = Console(stderr=True)
    columns: list[ProgressColumn] = [
        TextColumn(
            "{task.description}",
            table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            markup=False,
        ),
        Amount(),
        TimeRemainingColumn(compact=True),
    ]
    for enough, width in BARS:
        if console.width >= enough:
            columns.insert(1, BarColumn(width))
            break
    return Progress(
        *columns,
        console=console,
        transient=True,
        expand=True,
        redirect_stdout=sys.stdout.isatty(),
    )
