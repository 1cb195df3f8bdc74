"""Files with one user per line and the items in the order of time: no header, no times."""

from __future__ import annotations

from pathlib import Path

from bench.data.prepare.events import Events, from_sequences
from bench.data.sources.archives import text_of
from bench.errors import DataError


def read_sequences(path: Path, *, named: bool) -> Events:
    """Events of a sequence file.

    Tokens are separated by blanks, tabs or commas; a colon may follow the user.

    Args:
        path: the file, plain or with `.gz` or `.zst`.
        named: whether a line begins with its user. Else users are called after their lines, from
            0 on, padded so that they sort as they stand.

    Raises:
        DataError: unreadable, empty, or a user on two lines.
    """
    with text_of(path) as stream:
        lines = [line.replace(",", " ").split() for line in stream]
    filled = {number: tokens for number, tokens in enumerate(lines) if tokens}
    width = len(str(max(len(lines) - 1, 0)))
    sequences: dict[str, list[str]] = {}
    first: dict[str, int] = {}
    for number, tokens in filled.items():
        user = tokens[0].removesuffix(":") if named else f"{number:0{width}d}"
        if user in first:
            raise DataError(
                f"{path}: user '{user}' stands on line {first[user] + 1} and on line {number + 1}: "
                "each user needs one line"
            )
        first[user] = number
        sequences[user] = tokens[1:] if named else tokens
    report = [f"read {len(filled):,} lines of {path.name}"]
    if len(lines) > len(filled):
        report.append(f"dropped {len(lines) - len(filled):,} empty lines")
    kept = {user: items for user, items in sequences.items() if items}
    if len(sequences) > len(kept):
        report.append(f"dropped {len(sequences) - len(kept):,} users without items")
    if not kept:
        raise DataError(f"{path}: holds no sequence of items")
    return from_sequences(list(kept), list(kept.values()), report=report)
