"""The formats of a report by name; each is a function of a leaderboard and its runs."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from bench.registry import Entry, Registry

Format = Callable[[pd.DataFrame, pd.DataFrame], str]
"""A leaderboard, of one or several metrics, and the runs behind it, to a text without a final
newline. A leaderboard without entries is a valid report."""

FORMATS: Registry[Format, Entry] = Registry("report format", Entry)
DEFAULT_FORMAT = "markdown"

FORMATS.register("markdown", "bench.reporting.markdown:markdown")
FORMATS.register("json", "bench.reporting.machine:as_json")
FORMATS.register("csv", "bench.reporting.machine:as_csv")
FORMATS.register("latex", "bench.reporting.latex:latex")
FORMATS.register("html", "bench.reporting.page.html:html")
FORMATS.register("svg", "bench.reporting.figure:svg")
