"""Files with one user per line and the items in the order of time: no header, no times."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from bench import limits
from bench.data.prepare.events import Events, from_sequences
from bench.data.sources.archives import text_of
from bench.data.sources.columns import COLUMNS
from bench.data.sources.log import token_of
from bench.errors import DataError

PADDING = frozenset({"-1", "<pad>", "pad", "nan", "none", "null", "na", "<na>"})
"""What programs write, in any case, where a line has no item; 0 and others may be items."""

COUNTED = 3
"""Lines of which all may begin with their number of items by chance."""

_SPLIT = re.compile(r"[\W_]+")
_NAMES = "|".join(_SPLIT.sub("", name) for role in ("user", "item") for name in COLUMNS[role])
_HEADER = re.compile(
    rf"(?=[a-z])({_NAMES}|id|product(id)?|sequence|history)?s?(list|seq|sequence|history)?s?\d*"
)
_LIST = re.compile(r"([^\[\]]*)\[([^\[\]]*)\]")
_DECORATION = re.compile(r"[\[\]{}()\"'].*|.*[\[\]{}()\"':;|]|[!-/:-@\[-`{-~]+")
_WITH_NUMBER = re.compile(r".+:-?\d+(\.\d+)?")

Sequences = dict[str, list[str]]


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
            ids (brackets, quotes, padding, numbers beside items).
    """
    lines = []
    respelt = ""
    with limits.reading(path) as budget, text_of(path, budget=budget) as stream:
        for number, line in enumerate(stream, start=1):
            written = _tokens(line, number, path)
            tokens = [token_of(token) for token in written]
            if tokens != written and not respelt:
                old, new = next(p for p in zip(written, tokens, strict=True) if p[0] != p[1])
                respelt = f"ids are read as '{new}' where they are written '{old}'"
            lines.append(tokens)
            budget.cells(4 + 2 * len(tokens))  # each token is a text by itself
    report = [f"read {sum(map(bool, lines)):,} lines of {path.name}", *filter(None, [respelt])]
    if lines and _is_header(lines[0]):
        report.append(f"left out the first line, a header: {' '.join(lines[0])}")
        lines[0] = []
    elif not all(lines):
        report.append(f"dropped {sum(not line for line in lines):,} empty lines")
    sequences = _by_user(lines, path, named)
    _reject_numbers(sequences, path)
    report += _without_padding(sequences, path)
    kept = {user: items for user, items in sequences.items() if items}
    if not kept:
        first = next(iter(sequences), "")
        hint = f": a line such as '{first}' has one id, and no item" if first else ""
        raise DataError(f"{path}: holds no sequence of items{hint}")
    if len(sequences) > len(kept):
        report.append(f"dropped {len(sequences) - len(kept):,} users without items")
    return from_sequences(list(kept), list(kept.values()), report=report)


def _by_user(lines: list[list[str]], path: Path, named: bool) -> Sequences:
    width = len(str(max(len(lines) - 1, 0)))
    sequences: Sequences = {}
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
    return sequences


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


def _is_header(tokens: list[str]) -> bool:
    """Whether these are names of columns: `user_id:token item_id_list:token_seq`, `uid item_1`."""
    names = [_SPLIT.sub("", token.lower().partition(":")[0]) for token in tokens]
    named = all(len(name) > 2 and _HEADER.fullmatch(name) for name in names)
    return bool(names) and named and not names[0][-1].isdigit()


def _reject_numbers(sequences: Sequences, path: Path) -> None:
    """Raises: DataError: what stands in the place of ids are counts, times or ratings."""
    if not any(sequences.values()):
        return
    lists = [items for items in sequences.values() if items]
    if all(_WITH_NUMBER.fullmatch(item) for items in lists for item in items):
        raise DataError(
            f"{path}: each item has a number behind a colon, such as '{lists[0][0]}': if it is a "
            "time or a rating, write a table of user, item and time"
        )
    counted = all(items[0] == str(len(items) - 1) for items in lists)
    if counted and len(lists) > COUNTED and len({*map(len, lists)}) > 1:
        raise DataError(
            f"{path}: each line says how many items it has ('{lists[0][0]}' in the first) before "
            "it names them: take the numbers away"
        )


def _without_padding(sequences: Sequences, path: Path) -> list[str]:
    """Take what pads lines to one length off their ends; lines about that.

    Raises:
        DataError: padding stands between items, or what seems to pad may be an item as well.
    """
    taken: dict[str, None] = {}
    for user, items in sequences.items():
        start, end = 0, len(items)
        while start < end and items[start].lower() in PADDING:
            start += 1
        while end > start and items[end - 1].lower() in PADDING:
            end -= 1
        taken |= dict.fromkeys([*items[:start], *items[end:]])
        sequences[user] = items[start:end]
        for item in sequences[user]:
            if item.lower() in PADDING:
                raise DataError(
                    f"{path}: user '{user}': '{item}', which programs write where there is no "
                    "item, stands between items: take it away, or call the item something else"
                )
    _reject_doubtful_padding(sequences, path)
    named = " and ".join(f"'{padding}'" for padding in taken)
    return [f"took {named}, which pads lines, off their ends"] if taken else []


def _reject_doubtful_padding(sequences: Sequences, path: Path) -> None:
    """Refuse what stands several times in a row at ends of lines and nowhere else.

    It is 0, or what brings all lines to one length, as the number of items does.
    """
    runs: dict[str, int] = {}
    lines: Counter[str] = Counter()
    inside: set[str] = set()
    for items in filter(None, sequences.values()):
        start, end = 0, len(items)
        while start < end and items[start] == items[0]:
            start += 1
        while end > start and items[end - 1] == items[-1]:
            end -= 1
        for item, run in ((items[0], start), (items[-1], len(items) - end)):
            runs[item] = max(runs.get(item, 0), run)
        lines.update({items[0], items[-1]})
        inside.update(items[start:end])
    one_length = len({*map(len, sequences.values())}) == 1
    for item, run in runs.items():
        pads = item == "0" or (one_length and lines[item] > 1)
        if pads and run > 1 and item not in inside:
            raise DataError(
                f"{path}: item '{item}' stands only at the ends of lines, up to {run} times in a "
                "row: if it pads them, take it away; if it is an item, call it something else"
            )
