"""Lists from values of the whole catalogue, as BIGRec's programs write them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.errors import DataError
from bench.teachers.exchange.files import ImportedFiles, Lists
from bench.teachers.rows import preference
from bench.teachers.rules import Array

LIST_LENGTH = 100
"""K_T of lists that are made from values of the whole catalogue."""

BLOCK_VALUES = 1 << 24
"""Values of the whole catalogue that are sorted at a time."""


def from_values(files: ImportedFiles) -> Lists:
    """BIGRec's arrays: for every row a value of every item, in the order of the items.

    Raises:
        DataError: they have another shape, or ranks and distances are of different evaluations.
    """
    role = "dist" if "dist" in files.sources else "rank"
    values = files.array(role)
    name = files.sources[role].name
    files.check_list_per_example(values, name)
    if values.shape[1] != len(files.order):
        raise DataError(
            f"{name} has {values.shape[1]:,} values a row, and there are {len(files.order):,} "
            "items: it is no value of every item in catalogue order"
        )
    if role == "dist" and "rank" in files.sources:
        _check_same_evaluation(files, values)
    if files.request.items is None:
        files.on_trust(f"the columns of {name} are in the order of the catalogue")
    files.on_trust(f"the rows of {name} are in the order of the training rows")
    length = min(files.request.list_length or LIST_LENGTH, files.data.n_items)
    preferred = preference(files.data)
    ids = np.empty((len(values), length), dtype=np.int32)
    best = np.empty((len(values), length), dtype=np.float32)
    block = max(1, BLOCK_VALUES // values.shape[1])
    for start in range(0, len(values), block):
        part = slice(start, start + block)
        ids[part], best[part] = best_first(
            np.asarray(values[part])[:, files.order.place], length, preferred
        )
    files.report.append(
        f"lists of {length} items: order = argsort({name}), ties by popularity, then token"
    )
    return Lists(ids, best if role == "dist" else None)


def best_first(
    values: Array, length: int, preferred: NDArray[np.int64]
) -> tuple[NDArray[np.int32], Array]:
    """Lists of values in catalogue order: one argsort, ties as `preferred` has them.

    Args:
        values: [B, N], the smaller the better.
        length: K_T <= N.
        preferred: the ids 1..N, of tied items the preferred first.

    Returns:
        ids int32 [B, K_T], best first, and their values [B, K_T].
    """
    turned = values[:, preferred - 1]
    order = np.argsort(turned, axis=1, kind="stable")[:, :length]
    return preferred[order].astype(np.int32), np.take_along_axis(turned, order, axis=1)


def _check_same_evaluation(files: ImportedFiles, dist: Array) -> None:
    """`rank` must be the argsort of the argsort of `dist`; the first rows are looked at."""
    rank = files.array("rank")
    head = min(256, len(dist))
    if rank.shape == dist.shape:
        in_order = np.take_along_axis(
            np.asarray(dist[:head]), np.argsort(rank[:head], axis=1), axis=1
        )
        if (np.diff(in_order, axis=1) >= 0).all():
            return
    raise DataError(
        f"{files.sources['rank'].name} {rank.shape} is not the rank of each value of "
        f"{files.sources['dist'].name} {dist.shape}: they are not of one evaluation"
    )
