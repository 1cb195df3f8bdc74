"""History windows over ordered interactions: what a row shows before its target."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.data.examples import Examples, Ids

Index = NDArray[np.int64]

BLOCK = 1 << 12
"""Rows that are filled together, so that a cache holds them."""


def ordinals(user: Ids) -> tuple[Index, Index]:
    """Position of each interaction in its user's order, and the number its user has.

    Args:
        user: int [M], not decreasing.

    Returns:
        Two int64 [M]: the 0-based ordinal and the length n of its user.
    """
    starts = np.flatnonzero(np.diff(user, prepend=user[:1] - 1)) if len(user) else np.array([], int)
    sizes = np.diff(np.append(starts, len(user)))
    return np.arange(len(user)) - np.repeat(starts, sizes), np.repeat(sizes, sizes)


def examples_at(targets: Index, user: Ids, item: Ids, ordinal: Index, history: int) -> Examples:
    """The row of each target: its user's items before it, at most the last `history`.

    Args:
        targets: int64 [R], indices of interactions, none of them the first of its user.
        user: int32 [M], not decreasing.
        item: int32 [M], 0..N-1; the rows hold these plus 1.
        ordinal: int64 [M], as `ordinals` gives it.
        history: L, the width of the table.
    """
    length = np.minimum(ordinal[targets], history)
    table = np.empty((len(targets), history), dtype=np.int32)
    oldest, column, ids = targets - length, np.arange(history), item + np.int32(1)
    for start in range(0, len(targets), BLOCK):
        part = slice(start, start + BLOCK)
        np.take(ids, oldest[part, None] + column, mode="clip", out=table[part])
        table[part] *= column < length[part, None]
    return Examples(
        history=table,
        length=length.astype(np.int32),
        target=np.asarray(item[targets] + 1, dtype=np.int32),
        user=np.asarray(user[targets], dtype=np.int32),
        ordinal=ordinal[targets].astype(np.int32),
    )
