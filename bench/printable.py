"""Texts from data, made harmless for what shows them: a terminal, a screen, a spreadsheet."""

from __future__ import annotations

import re
from typing import Any

LINES, WIDTH = 40, 1200
"""Lines of a message, and characters of one of them, that are shown."""

_END = 300
"""Characters at the end of a long line that are shown: what to do stands there."""

# Control characters but for the ends of lines and tabs, what turns the direction of writing, other
# ends of lines, and halves of characters, which file names may hold.
_ODD = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)

_HALVES = re.compile("[\ud800-\udfff]")

_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def is_text(value: str) -> bool:
    """Whether it is whole characters, which UTF-8 has: names of files may hold other bytes."""
    return not _HALVES.search(value)


def for_terminal(text: str) -> str:
    r"""A text without characters that a terminal obeys: `\u001b` stands for an escape.

    JSON stays the same JSON.
    """
    return _ODD.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def for_screen(message: str) -> str:
    """A message for a terminal, no longer than a screen."""
    lines = message.splitlines()
    shown = [_middle_left_out(line) for line in lines[:LINES]]
    if len(lines) > LINES:
        shown.append(f"... and {len(lines) - LINES:,} lines more")
    return for_terminal("\n".join(shown))


def for_spreadsheet(cell: Any) -> Any:
    """A cell of CSV that no spreadsheet program runs as a formula; what is no text stays.

    A text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return has an apostrophe before
    it, and so has one that begins with apostrophes and then one of these: whoever reads the cell
    takes one apostrophe off such a text and has what it was.
    """
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def _middle_left_out(line: str) -> str:
    left = len(line) - WIDTH
    if left <= 0:
        return line
    return f"{line[: WIDTH - _END]} ... ({left:,} characters) ... {line[-_END:]}"
