"""The folder of prediction rows that the released program of DLLM2Rec reads.

`train_data.df`, `val_data.csv` and `test_data.csv` hold one row per prediction: `seq`, item
numbers from 0 on, padded behind with the number of items; `len_seq`, how many of them are real;
`next`, the target. `data_statis.df` holds `seq_size` and `item_num`. BIGRec's `id2name.txt`, lines
of title, tab and number, gives the titles if it is there.

Rows carry no user, so each becomes a user of its own whose last item is the target. Tokens are
padded numbers: row i of a split stays row i, and item j item j, so that teacher files made for the
folder fit.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from bench import limits
from bench.data.prepare.events import Events, from_sequences
from bench.data.sources.archives import text_of
from bench.data.sources.pickled import read_pickled
from bench.data.sources.tables import read_table
from bench.data.sources.texts import clean_text
from bench.errors import DataError
from bench.limits import Budget

FILES = {"train": "train_data", "valid": "val_data", "test": "test_data"}
STATISTICS = "data_statis"
TITLES = "id2name.txt"
ENDINGS = (".df", ".csv")

Table = dict[str, list[Any]]

NO_TITLE = "None"
"""What BIGRec writes in place of a title that there is not."""

PAIRS, ENOUGH_PAIRS = 20_000, 200
"""Neighbours whose titles are compared at most, and at least."""

_CELLS_OF_AN_ITEM = 8
"""What an item that no row has costs, in cells of a table."""


def is_dllm2rec(folder: Path) -> bool:
    """Whether a folder looks as DLLM2Rec's program wants it."""
    return all(
        any((folder / f"{name}{end}").exists() for end in ENDINGS) for name in FILES.values()
    )


def read_dllm2rec(folder: Path) -> Events:
    """Events of the rows of the three splits, and all items of the catalogue.

    Raises:
        DataError: a file is missing, damaged, refused or contradicts the others.
        TooMuch: they name far more items than their size lets expect.
    """
    stems = (*FILES.values(), STATISTICS)
    with limits.reading(*(_locate(folder, stem) for stem in stems), where=folder) as budget:
        return _read_folder(folder, budget)


def _read_folder(folder: Path, budget: Budget) -> Events:
    items, longest = _statistics(folder)
    budget.cells(_CELLS_OF_AN_ITEM * items)
    width = len(str(items - 1))
    names = [f"{item:0{width}d}" for item in range(items)]
    texts, report = _titles(folder, names)
    users: list[str] = []
    sequences: list[list[str]] = []
    labels: list[int] = []
    lines = []
    for label, (split, stem) in enumerate(FILES.items()):
        path = _locate(folder, stem)
        rows = _rows(path, items)
        lines.append(f"read {len(rows):,} {split} rows of {path.name}")
        kept = {number: row for number, row in enumerate(rows) if len(row) > 1}
        if len(kept) < len(rows):
            lines.append(
                f"dropped {len(rows) - len(kept):,} {split} rows without a history: teacher files "
                "made for this folder no longer fit"
            )
        digits = len(str(len(rows)))
        users += [f"{split}-{number:0{digits}d}" for number in kept]
        sequences += [[names[item] for item in row] for row in kept.values()]
        labels += [label] * len(kept)
    lines += [*report, "rows carry no user: each counts as a user of its own"]
    lines += _doubts_of_titles([texts.get(name, "") for name in names], sequences)
    if longest > 10:
        lines.append(f"histories hold up to {longest} items: see protocol.history")
    return from_sequences(
        users, sequences, last_split=np.array(labels, np.int8), item_texts=texts, report=lines
    )


def _doubts_of_titles(texts: list[str], sequences: list[list[str]]) -> list[str]:
    """What the rows say of the titles: whether both are of one run of BIGRec's program.

    Its numbers of items change with every run, and two things tell. It leaves out rows of items
    without a title, so an item called `None` stands in none. And neighbours, a target and the item
    before it, are alike in any shop; titles that belong to other numbers are not.
    """
    if not any(texts):
        return []
    listed = {int(name) for row in sequences for name in row}
    nameless = sum(len(texts[item]) == 1 or texts[item] == NO_TITLE for item in listed)
    doubts = []
    if nameless:
        doubts.append(
            f"{nameless:,} items of the rows are called '{NO_TITLE}' or by one character, and the "
            "program that makes both leaves such items out of the rows"
        )
    likeness, by_chance, error = _likeness(texts, sequences)
    alike = f"share {likeness:.1%} of their words, those of any two {by_chance:.1%}"
    if likeness - by_chance <= 3 * error:
        doubts.append(f"titles of items that follow one another {alike}")
    if not doubts:
        return [f"titles of items that follow one another {alike}"] if error else []
    return [
        f"WARNING: the titles of {TITLES} seem to belong to other rows: {'; '.join(doubts)}. "
        "Its numbers change with every run of the program that makes it: without the file, items "
        "have no titles, and nothing is wrong"
    ]


def _likeness(texts: list[str], sequences: list[list[str]]) -> tuple[float, float, float]:
    """Mean share of words that titles of neighbours have in common, and titles of any two.

    Also the standard error of the difference; all 0 where there are too few to tell.
    """
    words = [frozenset(text.lower().split()) for text in texts]
    pairs = np.array([[int(row[-2]), int(row[-1])] for row in sequences[:PAIRS]])
    pairs = pairs[[bool(words[a] and words[b]) and a != b for a, b in pairs]]
    if len(pairs) < ENOUGH_PAIRS:
        return 0.0, 0.0, 0.0
    others = np.random.default_rng(0).permutation(pairs[:, 1])
    near, far = (
        np.array(
            [
                len(words[a] & words[b]) / len(words[a] | words[b])
                for a, b in zip(pairs[:, 0], second, strict=True)
            ]
        )
        for second in (pairs[:, 1], others)
    )
    error = float((near - far).std() / len(pairs) ** 0.5)
    return float(near.mean()), float(far.mean()), error


def _locate(folder: Path, stem: str) -> Path:
    found = [path for end in ENDINGS if (path := folder / f"{stem}{end}").exists()]
    if not found:
        there = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise DataError(f"{folder}: neither {stem}.df nor {stem}.csv. There: {there}")
    return found[0]


def _read(path: Path, columns: tuple[str, ...]) -> Table:
    if path.suffix == ".df":
        table = read_pickled(path)
    else:
        frame = read_table(path)
        table = {str(name): frame[name].tolist() for name in frame.columns}
    missing = [name for name in columns if name not in table]
    if missing:
        raise DataError(f"{path}: no column '{missing[0]}'. Columns: {', '.join(table)}")
    return table


def _statistics(folder: Path) -> tuple[int, int]:
    path = _locate(folder, STATISTICS)
    table = _read(path, ("seq_size", "item_num"))
    items, longest = _integer(table["item_num"][0]), _integer(table["seq_size"][0])
    if items is None or longest is None or items < 1:
        raise DataError(f"{path}: item_num and seq_size must be whole numbers")
    return items, longest


def _rows(path: Path, items: int) -> list[list[int]]:
    """History and target of each row, checked."""
    table = _read(path, ("seq", "len_seq", "next"))
    columns = (table["seq"], table["len_seq"], table["next"])
    rows = []
    for number, (seq, length, target) in enumerate(zip(*columns, strict=True), start=1):
        row = _row(seq, length, target, items)
        if row is None:
            raise DataError(
                f"{path}: row {number}: seq {seq}, len_seq {length}, next {target}: expected item "
                f"numbers 0 to {items - 1}, padded behind with {items}"
            )
        rows.append(row)
    return rows


def _row(seq: Any, length: Any, target: Any, items: int) -> list[int] | None:
    """None where something is wrong."""
    try:
        cells = json.loads(seq) if isinstance(seq, str) else seq
    except (ValueError, RecursionError):
        return None
    count = _integer(length)
    if not isinstance(cells, list) or count is None or not 0 <= count <= len(cells):
        return None
    numbers = [_integer(cell) for cell in [*cells[:count], target]]
    row = [number for number in numbers if number is not None and 0 <= number < items]
    padded = all(_integer(cell) == items for cell in cells[count:])
    return row if padded and len(row) == count + 1 else None


def _integer(value: Any) -> int | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return int(number) if number.is_integer() else None


def _titles(folder: Path, names: list[str]) -> tuple[dict[str, str], list[str]]:
    texts = dict.fromkeys(names, "")
    path = folder / TITLES
    if not path.exists():
        return texts, [f"no {TITLES}: items have no text"]
    with text_of(path) as stream:
        lines = [line.strip().rpartition("\t") for line in stream if line.strip()]
    for title, _, number in lines:
        item = _integer(number)
        if item is None or not 0 <= item < len(names):
            raise DataError(
                f"{path}: '{title}', '{number}': expected title, tab and a number from 0 to "
                f"{len(names) - 1}"
            )
        texts[names[item]] = clean_text(title)
    return texts, [f"read {len(lines):,} titles of {path.name}"]
