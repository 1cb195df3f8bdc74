"""The formats of a report by name; each is a function of the rows alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.evaluation.metrics import Metric
from bench.registry import Entry, Registry
from bench.reporting.rows import Row

Format = Callable[[Sequence[Row], "Sequence[Metric] | None"], str]
"""Rows in the order of the leaderboard, and the metrics asked for (None: the format's own
choice), to a text without a final newline. No rows are a valid report."""

FORMATS: Registry[Format, Entry] = Registry("report format", Entry)
DEFAULT_FORMAT = "markdown"

FORMATS.register("markdown", "bench.reporting.markdown:markdown")
FORMATS.register("json", "bench.reporting.machine:as_json")
FORMATS.register("csv", "bench.reporting.machine:as_csv")
FORMATS.register("latex", "bench.reporting.latex:latex")
FORMATS.register("html", "bench.reporting.html:html")
FORMATS.register("svg", "bench.reporting.figure:svg")
