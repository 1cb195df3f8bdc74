"""The prediction rows that D3 and MiniOneRec publish: a table for each split, with users.

`train/*.csv`, `valid/*.csv` and `test/*.csv` (or `train.csv`, ...) hold a row per prediction:
`user_id`, `history_item_id` (a list, oldest first, the last ten), `item_id` (the target), and the
titles of both. `*.item.json`, if it is there, has the texts of the whole catalogue by item.

The rows of a user follow one another, so they are parts of one sequence, and its items keep the
split of the row whose target they are.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from bench import limits
from bench.data.prepare.events import Events
from bench.data.prepare.interactions import HISTORY, SPLITS
from bench.data.sources.log import token_of
from bench.data.sources.tables import read_table
from bench.data.sources.texts import clean_text
from bench.errors import DataError
from bench.limits import Budget

COLUMNS = ("user_id", "history_item_id", "item_id")
TITLES = ("history_item_title", "item_title")


def is_minionerec(folder: Path) -> bool:
    """Whether a folder has a table of such rows for each split."""
    return all(len(_tables(folder, split)) == 1 for split in SPLITS)


def read_minionerec(folder: Path) -> Events:
    """Events of the rows of the three splits, and the texts of their items.

    Raises:
        DataError: a table is missing or stands beside another one, or holds no such rows.
        TooMuch: it costs far more than its size lets expect.
    """
    paths = {split: _the_table(folder, split) for split in SPLITS}
    listed = sorted([*folder.glob("*.item.json"), *folder.glob("*/*.item.json")])
    if len(listed) > 1:
        raise DataError(f"{folder}: {listed[0].name} or {listed[1].name}? Leave one of them there")
    with limits.reading(*paths.values(), *listed, where=folder) as budget:
        log = _Log()
        for label, (split, path) in enumerate(paths.items()):
            log.read(path, split, label, budget)
        if listed:
            log.texts |= _catalogue(listed[0], budget)
            log.report.append(f"read {len(log.texts):,} items of {listed[0].name}")
    return log.events()


def _tables(folder: Path, split: str) -> list[Path]:
    return sorted([*folder.glob(f"{split}.csv"), *folder.glob(f"{split}/*.csv")])


def _the_table(folder: Path, split: str) -> Path:
    found = _tables(folder, split)
    if len(found) != 1:
        there = ", ".join(str(path.relative_to(folder)) for path in found) or "none"
        raise DataError(
            f"{folder}: one table {split}.csv or {split}/*.csv is needed, there: {there}. "
            "Give a folder with the three tables of one category"
        )
    return found[0]


@dataclass
class _Log:
    """What was read so far: sequences by user, each item with the split whose target it is."""

    sequences: dict[str, list[str]] = field(default_factory=dict)
    labels: dict[str, list[int]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    report: list[str] = field(default_factory=list)
    _current: dict[str, str] = field(default_factory=dict)

    def read(self, path: Path, split: str, label: int, budget: Budget) -> None:
        frame = read_table(path)
        missing = [name for name in COLUMNS if name not in frame.columns]
        if missing:
            raise DataError(
                f"{path}: no column {', '.join(missing)}. Columns: {', '.join(frame.columns)}"
            )
        titled = all(name in frame.columns for name in TITLES)
        others = (frame[name] if titled else [""] * len(frame) for name in TITLES)
        rows = zip(frame.index, *(frame[name] for name in COLUMNS), *others, strict=True)
        for number, user, history, target, titles, title in rows:
            where = f"{path}: row {number}"
            items = [token_of(item) for item in _list(history, where)]
            budget.cells(4 + 2 * len(items))
            if not user or not items or not all((*items, target)):
                raise DataError(f"{where}: no user, no history, or an item without an id")
            self._add(user, items, token_of(target), label)
            if titled:
                texts = map(clean_text, (*map(str, _list(titles, where)), title))
                for item, text in zip((*items, token_of(target)), texts, strict=False):
                    self.texts[item] = self.texts.get(item) or text
        self.report.append(f"read {len(frame):,} {split} rows of {path.name}")

    def _add(self, user: str, history: list[str], target: str, label: int) -> None:
        name = self._current.setdefault(user, user)
        sequence = self.sequences.setdefault(name, [])
        if not sequence or sequence[-len(history) :] != history:
            if sequence:  # this row does not go on where the last one of its user ended
                name = self._current[user] = f"{user}~{len(self.sequences)}"
            sequence = self.sequences[name] = list(history)
            self.labels[name] = [HISTORY] * len(history)
        sequence.append(target)
        self.labels[name].append(label)

    def events(self) -> Events:
        apart = len(self.sequences) - len(self._current)
        if apart:
            self.report.append(
                f"{apart:,} times a row does not follow the one before of its user: what comes "
                "from there on counts as a user of its own"
            )
        sizes = [len(sequence) for sequence in self.sequences.values()]
        return Events(
            user=np.repeat(np.array(list(self.sequences), dtype=object), sizes),
            item=np.array([i for items in self.sequences.values() for i in items], dtype=object),
            position=np.concatenate([np.arange(size) for size in sizes]),
            split=np.array([x for one in self.labels.values() for x in one], dtype=np.int8),
            item_texts=self.texts,
            report=self.report,
        )


def _list(text: str, where: str) -> list[Any]:
    """A list as Python writes it; nothing is executed."""
    try:
        found = ast.literal_eval(text) if len(text) <= limits.LITERAL else None
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        found = None
    if not isinstance(found, list):
        raise DataError(f"{where}: '{text[:60]}' is no list such as [12, 7] or ['B01', 'B02']")
    return found


def _catalogue(path: Path, budget: Budget) -> dict[str, str]:
    """The title of each item of a JSON object of objects."""
    content = path.read_bytes()
    budget.unpacked(len(content))
    try:
        items = orjson.loads(content)
        return {
            token_of(item): clean_text(str(about.get("title") or ""))
            for item, about in items.items()
        }
    except (ValueError, AttributeError) as error:
        raise DataError(f"{path}: is no object of items with a 'title' each: {error}") from error
