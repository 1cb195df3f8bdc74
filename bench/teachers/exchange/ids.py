"""Lists of integer ids, row by row of the training split."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.errors import ConfigError, DataError
from bench.teachers import rules
from bench.teachers.exchange.evaluation import Evaluation, evaluated
from bench.teachers.exchange.files import ImportedFiles, Lists
from bench.teachers.exchange.listing import SPLITS, ListsOfRows, distances_of, rectangular
from bench.teachers.exchange.naming import find_base
from bench.teachers.rules import CATALOGUE_ORDER, PADDED, Array


def from_ids(files: ImportedFiles, role: str, covered: Array | None) -> Lists:
    """Lists of integer ids, best first, row by row of the training split.

    Args:
        files: the import.
        role: of its source that holds the lists.
        covered: bool [R], the rows whose list counts; None: all.

    Raises:
        ConfigError: only the user can tell what the ids mean.
        DataError: what is there are no lists of ids for these rows.
    """
    name = files.sources[role].name
    listed = np.asarray(files.array(role))
    files.check_list_per_example(listed, name)
    values = np.asarray(files.array("distances")) if "distances" in files.sources else None
    if values is not None and values.shape != listed.shape:
        raise DataError(
            f"{files.sources['distances'].name} has shape {values.shape}, {name} {listed.shape}"
        )
    kept = slice(None) if covered is None else covered
    used = listed[kept]
    if (used[np.isfinite(used)] % 1).any():
        raise DataError(f"{name} holds values that are no item ids")
    _reject_padding(used, len(files.order), name)
    if not np.isfinite(used).all():
        raise DataError(f"{name} holds values that are no item ids")
    _reject_catalogue_order(files, values, name)
    base, why = find_base(used, len(files.order), files.base(), f"lists of {name}")
    files.report.append(why)
    files.on_trust("the lists are in the order of the training rows")
    places = np.zeros(listed.shape, dtype=np.int64)
    places[kept] = used.astype(np.int64) - base
    if files.request.value == "score" and values is not None:
        values = distances_of(values)
        files.report.append("distance = best score of the list - score")
    lists = ListsOfRows(
        np.arange(len(listed))[kept],
        files.order.item[places][kept].astype(np.int32),
        None if values is None else values[kept].astype(np.float64),
    )
    if files.request.items is None and files.request.list_length is None:
        # As they are: whatever is wrong with them, the contract's own check reports.
        ids = _filled(lists, len(listed), listed.shape[1])
        distances = None if values is None else np.ascontiguousarray(values, np.float32)
        return Lists(ids, distances, covered)
    if files.order.shared:
        raise ConfigError(
            f"{name} names items by their place in an order of titles, and titles repeat: "
            "give the order by token"
        )
    return Lists(
        *rectangular(_packed(lists), len(listed), files.request.list_length, files.report, name)
    )


def evaluations_of_ids(files: ImportedFiles) -> dict[str, Evaluation]:
    """What lists of integer ids, row by row of a split of evaluation, measure.

    A place that holds -1 or NaN names no item, which is a miss.

    Raises:
        ConfigError: only the user can tell what the ids mean.
        DataError: what is there are no lists of ids for these rows.
    """
    found = {}
    for split in SPLITS[1:]:
        if (role := f"{split}-rankings") not in files.sources:
            continue
        name, rows = files.sources[role].name, getattr(files.data, split)
        listed = np.asarray(files.array(role), dtype=np.float64)
        if listed.ndim != 2 or len(listed) != len(rows) or 0 in listed.shape:
            hint = rules.count_hint(len(listed), files.data) if listed.ndim else ""
            raise DataError(f"{name} has shape {listed.shape}, expected [{len(rows)}, K]{hint}")
        named = ~(np.isnan(listed) | (listed == -1))
        if not named.any() or np.isinf(listed).any() or (listed[named] % 1).any():
            raise DataError(f"{name} holds values that are no item ids")
        base, why = find_base(listed[named], len(files.order), files.base(), f"lists of {name}")
        files.report.append(why)
        files.on_trust(f"the lists of {name} are in the order of the {split} rows")
        ids = np.zeros(listed.shape, dtype=np.int32)
        ids[named] = files.order.item[listed[named].astype(np.int64) - base]
        lists = _packed(ListsOfRows(np.arange(len(rows)), ids, None))
        found[split] = evaluated(lists, rows.target, files.data.n_items)
        files.measured(split, found[split])
    return found


def _reject_padding(lists: Array, n_items: int, name: str) -> None:
    """Lists [R', K] that were filled up to one length."""
    end = lists[:, -1]
    filler = np.isnan(end) | (end < 0) | ((end == 0) & (lists.max() == n_items))
    if lists.shape[1] > 1:
        filler |= end == lists[:, -2]
    if filler.any():
        row = int(np.argmax(filler))
        raise DataError(
            f"{name}: {int(filler.sum()):,} lists end in {end[row]:g} (first: list {row}, counted "
            f"from 0): {PADDED}"
        )


def _reject_catalogue_order(files: ImportedFiles, values: Array | None, name: str) -> None:
    if values is None or values.shape[1] != len(files.order) or len(files.order) < 3:
        return
    if (np.diff(values, axis=1) < 0).any(axis=1).mean() > 0.5 and not (
        files.request.value == "score"
    ):
        raise DataError(
            f"{name} and its distances name every item, and the distances do not grow: "
            f"{CATALOGUE_ORDER}. As rank=PATH and dist=PATH they are converted so"
        )


def _packed(lists: ListsOfRows) -> ListsOfRows:
    """Lists with the places that name no item moved behind the others."""
    order = np.argsort(lists.ids == 0, axis=1, kind="stable")
    values = lists.values
    return ListsOfRows(
        lists.row,
        np.take_along_axis(lists.ids, order, axis=1),
        None if values is None else np.take_along_axis(values, order, axis=1),
    )


def _filled(lists: ListsOfRows, rows: int, length: int) -> NDArray[np.int32]:
    """A list for every row, with filler where there is none: ids [rows, length]."""
    ids = np.tile(np.arange(1, length + 1, dtype=np.int32), (rows, 1))
    ids[lists.row] = lists.ids
    return ids
