"""Files with one user per line and the items in the order of time: no header, no times."""

from __future__ import annotations

import re
from pathlib import Path

from bench import limits
from bench.data.prepare.events import Events, from_sequences
from bench.data.sources.archives import text_of
from bench.data.sources.columns import COLUMNS
from bench.errors import DataError

HEADER = {*COLUMNS["user"], *COLUMNS["item"], "items", "sequence", "sequences", "history"}
PADDING = "-1"

_LIST = re.compile(r"([^\[\]]*)\[([^\[\]]*)\]")
_DECORATION = re.compile(r"[\[\]{}()\"'].*|.*[\[\]{}()\"':;|]")


def read_sequences(path: Path, *, named: bool) -> Events:
    """Events of a sequence file.

    Tokens are separated by blanks, tabs or commas; a colon may follow the user, and brackets may
    enclose the items, in quotes or not.

    Args:
        path: the file, plain or with `.gz` or `.zst`.
        named: whether a line begins with its user. Else users are called after their lines, from
            0 on, padded so that they sort as they stand.

    Raises:
        DataError: unreadable, empty, a user on two lines, or tokens that look like anything but
            ids (brackets, quotes, padding).
    """
    lines = []
    with limits.reading(path) as budget, text_of(path, budget=budget) as stream:
        for number, line in enumerate(stream, start=1):
            lines.append(_tokens(line, number, path))
            budget.cells(4 + 2 * len(lines[-1]))  # each token is a text by itself
    report = [f"read {sum(map(bool, lines)):,} lines of {path.name}"]
    if lines and lines[0] and {token.lower().partition(":")[0] for token in lines[0]} <= HEADER:
        report.append(f"left out the first line, a header: {' '.join(lines[0])}")
        lines[0] = []
    elif not all(lines):
        report.append(f"dropped {sum(not line for line in lines):,} empty lines")
    width = len(str(max(len(lines) - 1, 0)))
    sequences: dict[str, list[str]] = {}
    first: dict[str, int] = {}
    for number, tokens in enumerate(lines):
        if not tokens:
            continue
        user = tokens[0].removesuffix(":") if named else f"{number:0{width}d}"
        if user in first:
            raise DataError(
                f"{path}: user '{user}' stands on line {first[user] + 1} and on line {number + 1}: "
                "each user needs one line"
            )
        first[user] = number
        sequences[user] = tokens[1:] if named else tokens
    report += _without_padding(sequences, path)
    kept = {user: items for user, items in sequences.items() if items}
    if len(sequences) > len(kept):
        report.append(f"dropped {len(sequences) - len(kept):,} users without items")
    if not kept:
        raise DataError(f"{path}: holds no sequence of items")
    return from_sequences(list(kept), list(kept.values()), report=report)


def _tokens(line: str, number: int, path: Path) -> list[str]:
    """The user, where there is one, and the items of a line."""
    listed = _LIST.fullmatch(line.strip())
    if listed:
        head, items = listed[1].replace(",", " ").split(), listed[2].replace(",", " ").split()
        tokens = [*head, *(re.sub(r"^(['\"])(.*)\1$", r"\2", item) for item in items)]
    else:
        tokens = line.replace(",", " ").split()
    for token in [*(user.removesuffix(":") for user in tokens[:1]), *tokens[1:]]:
        if _DECORATION.fullmatch(token):
            raise DataError(
                f"{path}: line {number}: '{token}' does not look like an id: a line is read as ids "
                "between blanks, tabs or commas, perhaps in one pair of brackets"
            )
    return tokens


def _without_padding(sequences: dict[str, list[str]], path: Path) -> list[str]:
    """Take what pads lines to one length off their ends; lines about that.

    Raises:
        DataError: 0 seems to pad, and may be an item as well.
    """
    inside: set[str] = set()
    runs = {PADDING: 0, "0": 0}
    for items in sequences.values():
        for pad in runs:
            end = len(items) - len(_stripped(items, pad))
            runs[pad] = max(runs[pad], end)
            inside |= {pad} & set(_stripped(items, pad))
    if runs["0"] > 1 and "0" not in inside:
        raise DataError(
            f"{path}: item '0' stands only at the ends of lines, up to {runs['0']} times in a row: "
            "if it pads them, take it away; if it is an item, call it something else"
        )
    if not runs[PADDING] or PADDING in inside:
        return []
    for user, items in sequences.items():
        sequences[user] = _stripped(items, PADDING)
    return [f"took '{PADDING}', which pads lines, off their ends"]


def _stripped(items: list[str], pad: str) -> list[str]:
    start, end = 0, len(items)
    while start < end and items[start] == pad:
        start += 1
    while end > start and items[end - 1] == pad:
        end -= 1
    return items[start:end]
