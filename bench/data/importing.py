"""Bring your own data: tables of interactions and items become the source of a dataset."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.data import interactions
from bench.data.config import DATASET_FILE, DatasetConfig, ProtocolConfig, ProtocolName
from bench.data.files import exclusive, replace_folder, write_json
from bench.data.interactions import HISTORY, SPLITS, Interactions, canonical
from bench.data.tables import (
    FORMATS,
    find_column,
    need_column,
    parse_numbers,
    parse_times,
    read_table,
    table_format,
)
from bench.errors import DataError
from bench.paths import Workspace

if TYPE_CHECKING:
    import pandas as pd

INTERACTION_FILES = ("interactions", "ratings", "reviews", "events", "inter")
ITEM_FILES = ("items", "movies", "products", "metadata", "meta", "item")

LABELS = {
    **dict.fromkeys(("train", "training"), 0),
    **dict.fromkeys(("valid", "validation", "val", "dev"), 1),
    **dict.fromkeys(("test", "testing"), 2),
    **dict.fromkeys(("history", "context", ""), HISTORY),
}
"""Split labels, case aside; `history` and an empty label mark context that is never a target."""


@dataclass(frozen=True)
class Tables:
    """The files of an import and what their columns are called.

    Attributes:
        interactions: table of interactions.
        items: table of items, or None.
        columns: column by role (keys of `tables.COLUMNS`), where it has no common name.
        texts: further columns of the item table whose content follows the title.
    """

    interactions: Path
    items: Path | None
    columns: Mapping[str, str] = field(default_factory=dict)
    texts: Sequence[str] = ()


def locate(path: Path, items: Path | None = None) -> tuple[Path, Path | None]:
    """The tables of interactions and of items that a path stands for.

    Args:
        path: the table of interactions, or a folder that holds it (and a table of items).
        items: the table of items, if it is not in that folder.

    Raises:
        DataError: nothing there, or several candidates.
    """
    for given in filter(None, (path, items)):
        if not given.exists():
            raise DataError(f"{given}: no such file or folder")
    if not path.is_dir():
        return path, items
    found = _named(path, INTERACTION_FILES)
    if found is None:
        expected = ", ".join(INTERACTION_FILES)
        there = ", ".join(sorted(p.name for p in path.iterdir())) or "nothing"
        raise DataError(
            f"{path}: no table of interactions, which is a file called one of {expected} with one "
            f"of the endings {FORMATS}. There: {there}"
        )
    return found, items or _named(path, ITEM_FILES)


def read(tables: Tables) -> Interactions:
    """Read and check the tables.

    Raises:
        DataError: what is wrong, in which file, and what would be right.
    """
    path, given = tables.interactions, tables.columns
    texts, report = _read_items(tables)
    frame = read_table(path)
    report.insert(0, f"read {len(frame):,} rows of {path.name}")
    user = need_column(frame, "user", given.get("user"), path)
    item = need_column(frame, "item", given.get("item"), path)
    time, position, rating, split = (
        find_column(frame, role, given.get(role), path)
        for role in ("time", "position", "rating", "split")
    )
    if time is None and position is None:
        need_column(frame, "time", None, path)
    complete = (frame[user] != "") & (frame[item] != "")
    if not complete.all():
        report.append(f"dropped {(~complete).sum():,} rows without user or item")
        frame = frame[complete]
    data = canonical(
        frame[user],
        frame[item],
        item_texts=texts,
        time=parse_times(frame[time], path) if time else None,
        position=parse_times(frame[position], path) if position else None,
        rating=parse_numbers(frame[rating], path).astype(np.float32) if rating else None,
        split=_parse_split(frame[split], path) if split else None,
        origin=f"import of {path.name}",
        report=report,
    )
    unused = [c for c in frame.columns if c not in (user, item, time, position, rating, split)]
    if unused:
        return replace(data, report=[*data.report, f"columns not used: {', '.join(unused)}"])
    return data


def store(name: str, data: Interactions, workspace: Workspace, *, configured: bool) -> None:
    """Make `data` the source of the dataset `name`, whole or not at all.

    Args:
        name: lower-case letters, digits, `.`, `_` and `-`.
        data: what was read.
        workspace: where datasets are kept.
        configured: whether a YAML configures the dataset; else a configuration is stored beside.

    Raises:
        DataError: a name that is no folder name, or a folder that cannot be written.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name):
        raise DataError(
            f"'{name}' cannot be the name of a dataset: use lower-case letters, digits, '.', '_' "
            "and '-', such as my-shop"
        )
    home = workspace.datasets / name
    with exclusive(home), replace_folder(home / "source") as folder:
        interactions.save(data, folder)
        if not configured:
            write_json(folder / DATASET_FILE, generated_config(data).model_dump())


def generated_config(data: Interactions) -> DatasetConfig:
    """Configuration of an imported dataset that has none.

    The protocol is temporal wherever that is possible. Without split labels every interaction but
    a user's first is a target.
    """
    if data.split is not None:
        protocol = ProtocolConfig(name="temporal")
    else:
        name: ProtocolName = "leave-one-out" if data.time is None else "temporal"
        protocol = ProtocolConfig(name=name, first_target=1)
    summary = f"{data.origin}: {len(data):,} interactions"
    return DatasetConfig(summary=summary, source="import", protocol=protocol)


def _named(folder: Path, stems: Sequence[str]) -> Path | None:
    """The one table in `folder` whose stem, or whose RecBole ending, is among `stems`."""
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.is_file()
        and table_format(path)
        and (path.name.split(".")[0].lower() in stems or table_format(path) in stems)
    ]
    if len(found) > 1:
        raise DataError(
            f"{folder}: several tables could be meant: {', '.join(p.name for p in found)}. "
            "Give the table of interactions itself, and --items for that of the items"
        )
    return found[0] if found else None


def _read_items(tables: Tables) -> tuple[dict[str, str], list[str]]:
    path = tables.items
    if path is None:
        for option, given in (
            ("--title-column", tables.columns.get("title")),
            ("--text-column", tables.texts),
        ):
            if given:
                raise DataError(f"{option} was given, but there is no table of items")
        return {}, ["no table of items: items have no text"]
    frame = read_table(path)
    # The item column is called the same in both tables, or has a common name in this one.
    name = tables.columns.get("item")
    shared = name if name in frame.columns else None
    item = find_column(frame, "item", shared, path) or _by_name(frame, "id")
    if item is None:
        item = need_column(frame, "item", None, path)
    title = need_column(frame, "title", tables.columns.get("title"), path)
    extra = [find_column(frame, "title", column, path) for column in tables.texts]
    report = [f"read {len(frame):,} rows of {path.name}"]
    named = frame[item] != ""
    if not named.all():
        report.append(f"dropped {(~named).sum():,} items without id")
        frame = frame[named]
    repeated = frame[item].duplicated()
    if repeated.any():
        raise DataError(
            f"{path}: item '{frame[item][repeated].iloc[0]}' stands more than once "
            f"({repeated.sum():,} repeated ids): each item needs one row"
        )
    columns = [frame[column] for column in (title, *extra)]
    texts = {
        token: ". ".join(filter(None, map(clean_text, parts)))
        for token, *parts in zip(frame[item], *columns, strict=True)
    }
    return texts, report


def clean_text(text: str) -> str:
    """Decode HTML entities and join white space: `Tom &amp;  Jerry` -> `Tom & Jerry`."""
    return " ".join(html.unescape(text).split())


def _by_name(frame: pd.DataFrame, name: str) -> str | None:
    return next((str(column) for column in frame.columns if column.lower() == name), None)


def _parse_split(values: pd.Series, path: Path) -> NDArray[np.int8]:
    labels = values.str.strip().str.lower().map(LABELS)
    unknown = labels.isna()
    if unknown.any():
        names = ", ".join(repr(label) for label in sorted(set(values[unknown]))[:5])
        raise DataError(
            f"{path}: column '{values.name}' has unknown split labels: {names} "
            f"({unknown.sum():,} rows). Allowed: {', '.join((*SPLITS, 'history'))}"
        )
    return labels.to_numpy(dtype=np.int8)
