"""Texts of items as people read them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable


def clean_text(text: str) -> str:
    """Decode HTML entities and join white space: `Tom &amp;  Jerry` -> `Tom & Jerry`."""
    return " ".join(html.unescape(text).split())


def movie_text(title: str, year: str, genres: Iterable[str]) -> str:
    """'Net, The', '1995', ['Sci-Fi', 'Thriller'] -> 'The Net (1995). Genres: Sci-Fi, Thriller'."""
    text = re.sub(r"^(.+), (The|A|An)(?= \(|$)", r"\2 \1", title.strip())
    if year.strip():
        text += f" ({year.strip()})"
    kinds = [genre for genre in genres if genre and genre != "unknown"]
    return f"{text}. Genres: {', '.join(kinds)}" if kinds else text
