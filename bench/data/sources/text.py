"""Texts of items as people read them."""

from __future__ import annotations

import html


def clean_text(text: str) -> str:
    """Decode HTML entities and join white space: `Tom &amp;  Jerry` -> `Tom & Jerry`."""
    return " ".join(html.unescape(text).split())
