"""The rules that a teacher's arrays keep: a rule yields a sentence for what breaks it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.examples import PreparedData
from bench.teachers import files
from bench.teachers.manifest import TeacherManifest

Array = NDArray[Any]
Problems = Iterator[str]

BLOCK = 1 << 14
"""Rows of a memory-mapped array that are checked at a time."""

CATALOGUE_ORDER = (
    "this looks like one value per item in catalogue order (an argsort of an argsort), not a "
    "list from best to worst: order = argsort(distance); ids = order[:, :K]; distances = "
    "take_along_axis(distance, order, 1)[:, :K]"
)

UNDECLARED_BASE = (
    f"no list names the id 0, so the lists are probably 1-based; without a {files.MANIFEST} they "
    f'would be read as 0-based. Say which in a {files.MANIFEST} beside them: "id_base": 1 (or 0, '
    'if no list names the first item), with "name", "dataset" and "signals": ["embeddings", '
    '"rankings", "confidence"]'
)


@dataclass(frozen=True)
class Told:
    """What a table says of the rows that the teacher speaks of.

    Attributes:
        values: [R', ...].
        row: int64 [R'], the rows of the table that they are.
    """

    values: Array
    row: NDArray[np.int64]

    def first(self, wrong: Array) -> int:
        """The row of the table that holds the first True of `wrong`, bool [R', ...]."""
        return int(self.row[_first_row(wrong)])


def told_by(table: Array, covered: Array | None = None) -> Told:
    """The covered rows of a table [R, ...]; the table itself where all of them are."""
    if covered is None or len(covered) != len(table) or covered.all():
        return Told(table, np.arange(len(table)))
    return Told(table[covered], np.flatnonzero(covered))


def made_for(manifest: TeacherManifest, data: PreparedData) -> Problems:
    """A manifest is of the dataset, the catalogue and the split of `data`."""
    where = f"dataset {data.dataset}, protocol {data.protocol}"
    if manifest.dataset != data.dataset:
        yield f"made for the dataset {manifest.dataset}, not for {where}"
    if manifest.catalogue_fingerprint not in (None, data.catalogue_fingerprint):
        yield (
            f"made for another catalogue ({manifest.catalogue_fingerprint}) than that of "
            f"{where} ({data.catalogue_fingerprint}): the items differ, or their order"
        )
    if manifest.split_fingerprint not in (None, data.split_fingerprint):
        yield (
            f"made for another split ({manifest.split_fingerprint}) than that of {where} "
            f"({data.split_fingerprint}): its rows are not these rows, and it may have "
            "seen their targets"
        )


def count_hint(count: int, data: PreparedData) -> str:
    """What a wrong number of rows may mean."""
    rows = {split: len(getattr(data, split)) for split in ("train", "valid", "test")}
    for more in (("valid",), ("test",), ("valid", "test")):
        together = ("train", *more)
        if count == sum(rows[split] for split in together):
            return (
                f"; as many as {' and '.join(together)} have together: what is told of rows of "
                "evaluation must not be in a teacher"
            )
    for split in ("valid", "test"):
        if count == rows[split]:
            return f"; as many as {split} has: rows of evaluation must not be in a teacher"
    return ""


def lists(table: Array, what: str, data: PreparedData) -> Problems:
    """A table is [R', K], K > 0."""
    if table.ndim != 2 or table.shape[1] == 0:
        yield f"{what} have shape {table.shape}, expected [{len(data.train)}, K]"


def one_list_a_row(table: Array, what: str, data: PreparedData) -> Problems:
    """A table is [R, K]: a list for every training row of `data`."""
    rows = len(data.train)
    if len(table) != rows:
        yield (
            f"{what} have {len(table)} rows, the training split of {data.dataset} "
            f"({data.protocol}) has {rows}{count_hint(len(table), data)}"
        )


def one_value_a_row(values: Array, what: str, rows: int, hint: str = "") -> Problems:
    """Values are [rows]; `hint` tells what another number may mean."""
    if values.shape != (rows,):
        yield f"{what} has shape {values.shape}, expected ({rows},){hint}"


def finite(told: Told, what: str) -> Problems:
    """No value is NaN or infinite."""
    wrong = ~np.isfinite(told.values)
    if wrong.any():
        yield (
            f"{what} hold {int(wrong.sum())} values that are NaN or infinite "
            f"(first in row {told.first(wrong)})"
        )


def whole_numbers(told: Told) -> Problems:
    """Lists hold ids, whatever their type is."""
    wrong = ~np.isfinite(told.values) | (told.values != np.floor(told.values))
    if wrong.any():
        yield (
            f"the ranked lists hold {int(wrong.sum())} values that are not item ids "
            f"(first in row {told.first(wrong)})"
        )


def ids_in_range(told: Told, base: int, n_items: int, *, declared: bool) -> Problems:
    """Lists hold the ids base..n_items - 1 + base, and where no manifest says so, 0 among them."""
    ids, low, high = told.values, base, n_items - 1 + base
    outside = (ids < low) | (ids > high)
    if not outside.any():
        if not declared and ids.size and ids.min() > 0:
            yield UNDECLARED_BASE
        return
    row, column = np.unravel_index(np.argmax(outside), outside.shape)
    smallest, largest = int(ids.min()), int(ids.max())
    text = (
        f"the ranked lists hold {int(outside.sum())} ids outside {low}..{high}, which "
        f"id_base {base} and {n_items} items allow (found {smallest}..{largest}, first in row "
        f"{told.row[row]}, place {column}: {int(ids[row, column])})"
    )
    if 1 - base <= smallest and largest <= n_items - base:
        text += f"; all of them fit id_base: {1 - base}, which {files.MANIFEST} can declare"
    yield text


def no_item_twice(told: Told) -> Problems:
    """A list names an item once."""
    repeated = _repeats(told.values)
    if repeated.any():
        yield (
            f"{int(repeated.sum())} of {len(repeated)} ranked lists name an item twice "
            f"(first: row {told.first(repeated)})"
        )


def ascending(told: Told) -> Problems:
    """The distances of a list run from best (smallest) to worst."""
    distances = told.values
    falls = np.diff(distances, axis=1) < 0
    falling = falls.any(axis=1)
    if not falling.any():
        return
    text = (
        f"the distances fall along {int(falling.sum())} of {len(distances)} lists (first: row "
        f"{told.first(falls)}); a list runs from best (smallest) to worst"
    )
    if not (np.diff(distances, axis=1) > 0).any():
        text += "; they fall everywhere, as scores do: distances are wanted"
    elif falling.mean() > 0.5:
        text += f"; {CATALOGUE_ORDER}"
    yield text


def none_negative(told: Told, sentence: str) -> Problems:
    """No value is below zero; `sentence` says it of one that is."""
    if (told.values < 0).any():
        yield sentence


def trajectory_shape(lists: Array, data: PreparedData) -> Problems:
    """Trajectories are int32 [M, C, R, K]: they are used as they lie on the disk."""
    rows = len(data.train)
    if lists.dtype != np.int32:
        yield f"{files.TRAJECTORIES} holds {lists.dtype}, int32 expected: it is memory-mapped"
    elif lists.ndim != 4 or 0 in lists.shape:
        yield f"{files.TRAJECTORIES} has shape {lists.shape}, expected [M, C, {rows}, K]"
    elif lists.shape[2] != rows:
        yield (
            f"{files.TRAJECTORIES} has {lists.shape[2]} rows, the training split of "
            f"{data.dataset} ({data.protocol}) has {rows}{count_hint(lists.shape[2], data)}"
        )


def trajectory_names(lists: Array, names: list[str]) -> Problems:
    """Each model of trajectories [M, ...] has a name of its own."""
    if lists.ndim == 4 and (len(names) != len(lists) or len(set(names)) != len(names)):
        yield (
            f"{files.TRAJECTORIES} holds the lists of {len(lists)} models, {files.MANIFEST} "
            f'must give each a name of its own ("members" is {names})'
        )


def trajectory_ids(lists: Array, n_items: int) -> Problems:
    """Trajectories [M, C, R, K] hold ids 1..N, none twice in a list, in every row.

    They are read in blocks: the whole may be larger than the memory.
    """
    outside, repeated = _Tally(), _Tally()
    for model, state in np.ndindex(*lists.shape[:2]):
        for start in range(0, lists.shape[2], BLOCK):
            ids = lists[model, state, start : start + BLOCK]
            outside.add((ids < 1) | (ids > n_items), model, state, start)
            repeated.add(_repeats(ids), model, state, start)
    if outside.count:
        yield (
            f"{files.TRAJECTORIES} holds {outside.count} ids outside 1..{n_items} "
            f"({outside.where}); its ids count from 1 whatever id_base says, and hold for "
            "every row"
        )
    if repeated.count:
        yield (
            f"{repeated.count} lists of {files.TRAJECTORIES} name an item twice ({repeated.where})"
        )


@dataclass
class _Tally:
    """How often trajectories break one rule, and where they do first."""

    count: int = 0
    where: str = ""

    def add(self, wrong: Array, model: int, state: int, start: int) -> None:
        """Args: wrong: bool [B, ...], of rows from `start` on."""
        self.count += int(wrong.sum())
        if not self.where and wrong.any():
            row = start + _first_row(wrong)
            self.where = f"first: model {model}, state {state}, row {row}"


def _repeats(lists: Array) -> Array:
    """Which of the lists [R, K] name an item twice: bool [R]."""
    ordered = np.sort(lists, axis=1)
    return np.asarray((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))


def _first_row(wrong: Array) -> int:
    """Index of the first row of `wrong`, bool [R, ...], that holds a True."""
    return int(np.unravel_index(np.argmax(wrong), wrong.shape)[0])
