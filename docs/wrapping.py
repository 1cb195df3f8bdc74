"""Prose of Markdown pages in lines of at most 100 characters: `make docs`.

Tables, code, headings, HTML and pictures stay as they are; code spans and formulas are not broken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

WIDTH = 100

_ITEM = re.compile(r"\s*(?:[-*+]|\d+\.)\s+")
_ALONE = ("|", "#", "<", "![", "    ", ">")
_STARTS = re.compile(r"(?:[-*+]|\d+\.)$|[|#<>]|!\[")
"""What at the start of a line would begin something else than the next line of a paragraph."""

_WORDS = re.compile(r"\$`.*?`\$|`[^`]*`|\S+?(?=`|\$`|\s|$)|\s+")


def wrapped(page: str) -> str:
    """The page with its paragraphs and list items wrapped; wrapping it again changes nothing."""
    return "\n".join(_lines(page.split("\n")))


def _lines(lines: list[str]) -> Iterator[str]:
    code, paragraph = False, list[str]()
    for line in lines:
        fence = line.startswith("```")
        item = _ITEM.match(line)
        ends = not line.strip() or fence or line.startswith(_ALONE[:4]) or bool(item)
        if paragraph and (code or ends):
            yield from _filled(paragraph)
            paragraph = []
        code ^= fence
        if code or fence or not line.strip() or (not paragraph and _stays(line, item)):
            yield line
        else:
            paragraph.append(line)
    yield from _filled(paragraph)


def _stays(line: str, item: re.Match[str] | None) -> bool:
    return item is None and line.startswith(_ALONE)


def _filled(paragraph: list[str]) -> Iterator[str]:
    if not paragraph:
        return
    mark = _ITEM.match(paragraph[0])
    line = mark[0] if mark else ""
    indent, text = " " * len(line), " ".join(part.strip() for part in paragraph)
    empty = True
    for word in _words(text.removeprefix(line.strip()) if mark else text):
        if not empty and len(line) + 1 + len(word) > WIDTH and not _STARTS.match(word):
            yield line
            line, empty = indent, True
        line += word if empty else f" {word}"
        empty = False
    yield line


def _words(text: str) -> Iterator[str]:
    word = ""
    for part in _WORDS.findall(text):
        if part.isspace():
            yield from filter(None, [word])
            word = ""
        else:
            word += part
    yield from filter(None, [word])


def pages(root: Path) -> list[Path]:
    """All Markdown pages of a checkout that people read."""
    # Tools leave pages in hidden folders.
    return sorted([*root.glob("*.md"), *root.glob("docs/*.md"), *root.glob("[!.]*/README.md")])
