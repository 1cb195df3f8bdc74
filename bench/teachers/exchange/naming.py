"""Items by the names that others give them: tokens, titles, integer ids, places in their order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench import limits
from bench.data.examples import PreparedData
from bench.data.sources.columns import COLUMNS, first_column
from bench.data.sources.tables import read_table, table_format
from bench.data.sources.texts import clean_text
from bench.errors import ConfigError, DataError
from bench.teachers.rows import preference

Key = Literal["token", "title", "id"]
Index = NDArray[np.int64]

_INTEGER = re.compile(r"\d+")


def ids_by_name(data: PreparedData, key: Key) -> Mapping[str, list[int]]:
    """The items of each name, several of one title in the order of `preference`.

    Titles are the item texts of the dataset; an item without a text has no title.
    """
    if key == "token":
        return {token: [index] for index, token in enumerate(data.item_tokens, start=1)}
    found: dict[str, list[int]] = {}
    for item in preference(data).tolist():
        found.setdefault(data.item_texts[item - 1], []).append(item)
    found.pop("", None)
    return found


def clean(name: str, key: Key) -> str:
    """A name as the dataset has it: titles with entities decoded and blanks joined."""
    return clean_text(name) if key == "title" else name


def integers(names: Sequence[str]) -> bool:
    """Whether all names are digits."""
    return all(_INTEGER.fullmatch(name) for name in names)


@dataclass(frozen=True)
class ItemOrder:
    """The order of somebody else's items.

    Attributes:
        place: int64 [N], for item i at i - 1 its 0-based place in that order.
        item: int64 [M], for each place its item 1..N, or 0 for none; of several items of one title
            the preferred one.
        shared: whether several items or places have one name, as titles may.
        report: what a reader of the import must know.
    """

    place: Index
    item: Index
    shared: bool
    report: list[str]

    def __len__(self) -> int:
        return len(self.item)


def catalogue_order(data: PreparedData) -> ItemOrder:
    """The order of the catalogue itself."""
    ids = np.arange(1, data.n_items + 1)
    return ItemOrder(ids - 1, ids, False, [])


def read_order(path: Path, data: PreparedData, key: Key) -> ItemOrder:
    """The order that a file tells: a text with one name a line, or a table with a column of names.

    Args:
        path: `.txt` (or no ending) without a header; `.csv`, `.tsv`, `.parquet` with one.
        data: the catalogue.
        key: whether the names are tokens or titles.

    Raises:
        DataError: unreadable, a token twice, or items of the catalogue that are not there.
    """
    if key == "id":
        raise ConfigError("an item order names items by token or title, not by id")
    names = [clean(name, key) for name in _names(path, key)]
    places: dict[str, int] = {}
    for index, name in enumerate(names):
        places.setdefault(name, index)
    repeated = len(names) - len(places)
    if repeated and key == "token":
        twice = next(name for index, name in enumerate(names) if places[name] != index)
        raise DataError(f"{path}: token '{twice}' stands twice ({repeated:,} repeated tokens)")
    wanted = data.item_tokens if key == "token" else data.item_texts
    place = np.array([places.get(name, -1) for name in wanted], dtype=np.int64)
    missing = [token for token, at in zip(data.item_tokens, place, strict=True) if at < 0]
    if missing:
        hint = _other_key(names, data, key)
        raise DataError(
            f"{path}: {len(missing):,} of the {data.n_items:,} items of {data.dataset} are not in "
            f"it by {key} (first: '{missing[0]}'){hint}"
        )
    items = ids_by_name(data, key)
    item = np.array([items.get(name, [0])[0] for name in names], dtype=np.int64)
    report = [f"order of {len(names):,} items by {key} from {path.name}"]
    foreign = int((item == 0).sum())
    if foreign:
        report.append(f"{foreign:,} of them are no items of {data.dataset} and were left out")
    if repeated:
        report.append(f"{repeated:,} repeated titles: the first place of a title stands for it")
    shared = bool(repeated) or len(set(wanted)) < len(wanted)
    return ItemOrder(place, item, shared, report)


def find_base(ids: NDArray[Any], size: int, given: int | None, what: str) -> tuple[int, str]:
    """Whether integer ids count from 0 or from 1, and why it is known.

    Args:
        ids: whole numbers.
        size: number of items they may name.
        given: the base that the user, or a manifest, says.
        what: what the ids are called in messages.

    Raises:
        DataError: there are none, they fit no base, or not the given one.
        ConfigError: they fit both.
    """
    if not ids.size:
        raise DataError(f"{what} hold no ids: nothing says whether they count from 0 or from 1")
    low, high = int(ids.min()), int(ids.max())
    fits = [base for base in (0, 1) if low >= base and high <= size - 1 + base]
    span = f"{what} hold the ids {low}..{high}, and there are {size:,} items"
    if not fits:
        raise DataError(f"{span}: they count neither from 0 nor from 1")
    if given is not None and given not in fits:
        raise DataError(f"{span}: they do not count from {given} but from {fits[0]}")
    if given is not None:
        return given, f"{span}: they count from {given}, as was said"
    if len(fits) == 2:
        raise ConfigError(
            f"{span}: they may count from 0 or from 1; say which with --id-base 0 or --id-base 1"
        )
    reason = "0 occurs" if low == 0 else f"{high} occurs"
    return fits[0], f"{span}: they count from {fits[0]}, since {reason}"


def _names(path: Path, key: Key) -> list[str]:
    if path.suffix in (".txt", "") or table_format(path) is None:
        try:
            text = limits.read_whole(path, limits.ARRAY).decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read: {error}") from error
        # Not `splitlines`: titles hold some of the other characters that it takes for line ends.
        lines = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
        return [line.strip() for line in lines]
    frame = read_table(path)
    if len(frame.columns) == 1:
        return frame.iloc[:, 0].tolist()
    wanted = (*COLUMNS["item"], "token") if key == "token" else COLUMNS["title"]
    found = first_column(frame.columns, wanted)
    if found is None:
        raise DataError(
            f"{path}: no column of {key}s: none is called {', '.join(wanted)}. "
            f"Columns: {', '.join(frame.columns)}"
        )
    return frame[found].tolist()


def _other_key(names: Sequence[str], data: PreparedData, key: Key) -> str:
    other: Key = "title" if key == "token" else "token"
    known = ids_by_name(data, other)
    if sum(clean(name, other) in known for name in names) * 2 < len(names):
        return ""
    return f"; they look like {other}s (--item-key {other})"
