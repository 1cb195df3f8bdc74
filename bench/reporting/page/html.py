"""The report as one self-contained page: it opens offline and no request leaves it.

The libraries, the suite's own script and all data stand in the file. A content security policy
names the scripts by their hashes and allows no connection, so that nothing in a record can run or
load anything. Names reach the page as JSON, and the document as text nodes alone.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

import orjson
import pandas as pd

from bench.reporting.page.content import content
from bench.reporting.page.details import Details

_HERE = Path(__file__).parent

_SCRIPTS = (
    "vendor/vega.min.js",
    "vendor/vega-lite.min.js",
    "vendor/vega-embed.min.js",
    "vendor/dataTables.min.js",
    "vendor/dataTables.responsive.min.js",
    "assets/page.js",
)
_STYLES = (
    "vendor/dataTables.dataTables.min.css",
    "vendor/responsive.dataTables.min.css",
    "assets/page.css",
)
_CHARTS = ("gains", "ranks", "cost", "curve")


def html(board: pd.DataFrame, runs: pd.DataFrame) -> str:
    """The page of a leaderboard, with all that is known of each entry."""
    shown = content(board, runs)
    details = Details(runs, [metric["name"] for metric in shown["metrics"]])
    return document(shown, {entry["id"]: details.of(entry["id"]) for entry in shown["entries"]})


def document(
    shown: Mapping[str, Any], details: Mapping[str, Any], *, connects: bool = False
) -> str:
    """The page as text.

    Args:
        shown: see `content`.
        details: of entries by their ids; those that are not here, the page asks its server for.
        connects: whether it may ask the server that it came from; nobody else, ever.
    """
    scripts = [_asset(name) for name in _SCRIPTS]
    charts = {name: orjson.loads(_asset(f"assets/{name}.vl.json")) for name in _CHARTS}
    blocks = {"content": {**shown, "charts": charts}}
    blocks |= {f"entry-{entry}": each for entry, each in details.items()}
    return Template(_asset("assets/page.html")).substitute(
        policy=_policy(scripts, connects),
        style="\n".join(map(_asset, _STYLES)),
        blocks="\n".join(_block(name, each) for name, each in blocks.items()),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )


def as_json(value: Any) -> bytes:
    """Plain values as JSON; what is no finite number is null."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def _block(name: str, value: Any) -> str:
    """Data within the document; no `<` in it can end its element or begin another."""
    text = as_json(value).decode().replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'


def _policy(scripts: list[str], connects: bool) -> str:
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    hashes = " ".join(f"'sha256-{base64.b64encode(each).decode()}'" for each in digests)
    parts = {
        "default-src": "'none'",
        "script-src": hashes,
        "style-src": "'unsafe-inline'",
        "img-src": "data: blob:",
        "connect-src": "'self'" if connects else "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in parts.items())


@cache
def _asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
