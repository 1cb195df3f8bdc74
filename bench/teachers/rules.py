"""The rules that a teacher's arrays keep: a rule yields a sentence for what breaks it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.examples import PreparedData
from bench.signals import PUBLISHED_SIGNALS, Signal
from bench.teachers.manifest import MANIFEST, TeacherManifest

Array = NDArray[Any]
Problems = Iterator[str]

BLOCK = 1 << 14
"""Examples of a memory-mapped array that are checked at a time."""

CATALOGUE_ORDER = (
    "this looks like one value per item in catalogue order (an argsort of an argsort), not a "
    "list from best to worst: order = argsort(distance); ids = order[:, :K]; distances = "
    "take_along_axis(distance, order, 1)[:, :K]"
)

PADDED = (
    "this looks like padding, and a list holds items alone. Write a table of user, ordinal and "
    "item, whose lists may end anywhere; or cut all lists to one length and mark the rows that "
    "have none as False in covered.npy"
)

UNDECLARED_BASE = (
    f"no list names the id 0, so the lists are probably 1-based; without a {MANIFEST} they "
    f'would be read as 0-based. Say which in a {MANIFEST} beside them: "id_base": 1 (or 0, '
    'if no list names the first item), with "name", "dataset" and "signals": '
    f"{PUBLISHED_SIGNALS}".replace("'", '"')
)


@dataclass(frozen=True)
class CoveredRows:
    """The rows of a table that belong to covered examples.

    Attributes:
        values: [R', ...].
        row: int64 [R'], the rows of the table that they are.
    """

    values: Array
    row: NDArray[np.int64]

    def first(self, wrong: Array) -> int:
        """The row of the table that holds the first True of `wrong`, bool [R', ...]."""
        return int(self.row[_first_row(wrong)])


def covered_rows(table: Array, covered: Array | None = None) -> CoveredRows:
    """The covered rows of a table [R, ...]; the table itself where all of them are."""
    if covered is None or len(covered) != len(table) or covered.all():
        return CoveredRows(table, np.arange(len(table)))
    return CoveredRows(table[covered], np.flatnonzero(covered))


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
    """What a wrong number of examples may mean."""
    rows = {split: len(getattr(data, split)) for split in ("train", "valid", "test")}
    for more in (("valid",), ("test",), ("valid", "test")):
        together = ("train", *more)
        if count == sum(rows[split] for split in together):
            return (
                f"; as many as {' and '.join(together)} have together: what is said of rows of "
                "evaluation must not be in a teacher"
            )
    for split in ("valid", "test"):
        if count == rows[split]:
            return f"; as many as {split} has: rows of evaluation must not be in a teacher"
    return ""


def shape(signal: Signal, array: Array, data: PreparedData) -> Problems:
    """An array has the sizes of its signal, none of them 0."""
    known = {"R": len(data.train), "T": len(data.test), "N": data.n_items}
    symbols = signal.shape.split()
    wanted = [known.get(symbol, symbol) for symbol in symbols]
    if array.ndim != len(symbols) or 0 in array.shape:
        yield f"{signal.has} shape {array.shape}, expected [{', '.join(map(str, wanted))}]"
        return
    for symbol, found in zip(symbols, array.shape, strict=True):
        if found == known.get(symbol, found):
            continue
        if symbol == "N":
            hint = " (a row for padding must not be stored)" if found == data.n_items + 1 else ""
            yield f"{signal.has} {found} rows, the catalogue {data.n_items} items{hint}"
        else:
            split = "training" if symbol == "R" else "test"
            hint = count_hint(found, data) if symbol == "R" else ""
            yield (
                f"{signal.has} {found} rows, the {split} split of {data.dataset} "
                f"({data.protocol}) has {known[symbol]}{hint}"
            )


def finite(signal: Signal, rows: CoveredRows) -> Problems:
    """No value is NaN or infinite."""
    wrong = ~np.isfinite(rows.values)
    if wrong.any():
        yield (
            f"{signal.hold} {int(wrong.sum())} values that are NaN or infinite "
            f"(first in row {rows.first(wrong)})"
        )


def non_negative(signal: Signal, rows: CoveredRows) -> Problems:
    """No value is below zero."""
    wrong = np.less(rows.values, 0)
    if wrong.any():
        yield (
            f"{signal.hold} negative values (first in row {rows.first(wrong)}); "
            "scores are not distances"
        )


def ascending(signal: Signal, rows: CoveredRows) -> Problems:
    """The values of a list run from best (smallest) to worst."""
    steps = np.diff(rows.values, axis=1)
    falling = np.asarray(np.less(steps, 0).any(axis=1))
    if not falling.any():
        return
    text = (
        f"{signal.words} fall along {int(falling.sum())} of {len(falling)} lists (first: row "
        f"{rows.first(falling)}); a list runs from best (smallest) to worst"
    )
    if not (steps > 0).any():
        text += "; they fall everywhere, as scores do: distances are wanted"
    elif falling.mean() > 0.5:
        text += f"; {CATALOGUE_ORDER}"
    yield text


def whole_numbers(signal: Signal, rows: CoveredRows) -> Problems:
    """Lists hold ids, whatever their type is."""
    wrong = ~np.isfinite(rows.values) | (rows.values != np.floor(rows.values))
    if wrong.any():
        yield (
            f"{signal.hold} {int(wrong.sum())} values that are not item ids "
            f"(first in row {rows.first(wrong)})"
        )


def ids_in_range(
    signal: Signal, rows: CoveredRows, base: int, n_items: int, *, declared: bool
) -> Problems:
    """Lists hold the ids base..n_items - 1 + base, and where no manifest says so, 0 among them."""
    ids, low, high = rows.values, base, n_items - 1 + base
    outside = (ids < low) | (ids > high)
    if not outside.any():
        if not declared and ids.size and ids.min() > 0:
            yield UNDECLARED_BASE
        return
    row, column = np.unravel_index(np.argmax(outside), outside.shape)
    smallest, largest = int(ids.min()), int(ids.max())
    text = (
        f"{signal.hold} {int(outside.sum())} ids outside {low}..{high}, which "
        f"id_base {base} and {n_items} items allow (found {smallest}..{largest}, first in row "
        f"{rows.row[row]}, place {column}: {int(ids[row, column])})"
    )
    if 1 - base <= smallest and largest <= n_items - base:
        text += f"; all of them fit id_base: {1 - base}, which {MANIFEST} can declare"
    yield text


def no_item_twice(signal: Signal, rows: CoveredRows) -> Problems:
    """A list names an item once."""
    repeated = _repeats(rows.values)
    if repeated.any():
        what = signal.words.removeprefix("the ")
        yield (
            f"{int(repeated.sum())} of {len(repeated)} {what} name an item twice "
            f"(first: row {rows.first(repeated)})"
            + (f"; {PADDED}" if (np.ptp(rows.values[repeated][:, -2:], axis=1) == 0).all() else "")
        )


def mapped_ids(signal: Signal, lists: Array, names: list[str], n_items: int) -> Problems:
    """Mapped lists [M, C, R, K] hold ids 1..N, none twice in a list, for every example.

    They are read in blocks: the whole may be larger than the memory.

    Args:
        signal: what they are.
        lists: of the signal's type, for they are used as they lie on the disk.
        names: of the M models, each its own.
        n_items: N.
    """
    if lists.dtype != np.dtype(signal.dtype):
        yield f"{signal.hold} {lists.dtype}, {signal.dtype} expected: it is memory-mapped"
        return
    outside, repeated = _Tally(), _Tally()
    for model, state in np.ndindex(*lists.shape[:2]):
        for start in range(0, lists.shape[2], BLOCK):
            ids = lists[model, state, start : start + BLOCK]
            outside.add((ids < 1) | (ids > n_items), model, state, start)
            repeated.add(_repeats(ids), model, state, start)
    if outside.count:
        yield (
            f"{signal.hold} {outside.count} ids outside 1..{n_items} "
            f"({outside.where}); its ids count from 1 whatever id_base says, and hold for "
            "every row"
        )
    if repeated.count:
        yield f"{repeated.count} lists of {signal.file} name an item twice ({repeated.where})"
    if len(names) != len(lists) or len(set(names)) != len(names):
        yield (
            f"{signal.hold} the lists of {len(lists)} models, {MANIFEST} "
            f'must give each a name of its own ("members" is {names})'
        )


def ranks(signal: Signal, values: Array, n_items: int) -> Problems:
    """Values are ranks among all items, 1..N."""
    if (values < 1).any() or (values > n_items).any():
        yield (
            f"{signal.hold} {values.min()}..{values.max()}; a rank among {n_items} items "
            f"is 1..{n_items}"
        )


def masked_ranks(signal: Signal, ranked: Array, masked: Array) -> Problems:
    """Leaving items out of a ranking makes no rank worse."""
    if ranked.shape == masked.shape and (masked > ranked).any():
        row = int(np.argmax(masked > ranked))
        yield (
            f"{signal.hold} {masked[row]} at row {row}, where the rank among all items is "
            f"{ranked[row]}: without some of the items no rank is worse"
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
