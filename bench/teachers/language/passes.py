"""Which histories a language model reads together: one pass over a user's titles serves many rows.

The history of a row is most often that of the row before it, one item later. A causal model that
reads the later one has, at the end of each of its items, read the recent part of an earlier one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data.examples import Examples


@dataclass(frozen=True)
class Pass:
    """One reading.

    Attributes:
        items: what is read, ids 1..N, oldest first.
        rows: the rows that it serves.
        seen: how many of the items each of these has before it, 1..len(items).
    """

    items: tuple[int, ...]
    rows: tuple[int, ...]
    seen: tuple[int, ...]


def passes(rows: Examples, shared: int) -> list[Pass]:
    """Passes that serve every row once, none of which shows a row more than its own history.

    Args:
        rows: R rows.
        shared: rows that a pass serves, at most. Of a full history of L items, the first row that
            shares a pass has L - shared + 1 before it, at least one, and the last one all L.
    """
    order = np.lexsort((rows.ordinal, rows.user)).tolist()
    history = [one[:n].tolist() for one, n in zip(rows.history, rows.length.tolist(), strict=True)]
    user = rows.user.tolist()
    found = []
    while order:
        last = order.pop()
        items, served = history[last], [(last, len(history[last]))]
        while order and len(served) < shared and user[order[-1]] == user[last]:
            seen = served[-1][1] - 1
            if not seen or history[order[-1]][-seen:] != items[:seen]:
                break
            served.append((order.pop(), seen))
        found.append(Pass(tuple(items), *zip(*served, strict=True)))
    return found


def keys_of(history: NDArray[np.int32]) -> NDArray[np.int64]:
    """A number for every history, int32 [R, L] padded with 0: equal ones have the same.

    Two different ones have the same by an accident of about one in 10^19.
    """
    with np.errstate(over="ignore"):
        return (history.astype(np.int64) * factors(history.shape[1])).sum(axis=1)


def factors(length: int) -> NDArray[np.int64]:
    """What a history's places count in its number, [L]; the sum wraps around."""
    return np.random.default_rng(0).integers(1, 2**62, length, dtype=np.int64) * 2 + 1
