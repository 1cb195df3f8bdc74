"""Columns of tables: under which names they are found, and their values as numbers and times."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bench.data.sources.faults import Faults
from bench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Mask = NDArray[np.bool_]

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "user": ("user_id", "user", "userid", "uid", "reviewerid", "session_id"),
    "item": ("item_id", "item", "itemid", "iid", "asin", "parent_asin", "movie_id", "movieid"),
    "time": ("timestamp", "time", "unixreviewtime", "datetime", "date", "ts"),
    "position": ("position", "order", "ordinal"),
    "rating": ("rating", "overall", "score", "stars"),
    "split": ("split", "subset"),
    "title": ("title", "name", "movie_title", "item_name", "item_title", "text"),
}
"""Names under which a column is found, the first the strongest; case does not matter."""


def first_column(names: Iterable[str], wanted: Iterable[str]) -> str | None:
    """The first of some lower-case names that a column has, case aside, as the table spells it."""
    by_name = {name.lower(): name for name in reversed(list(names))}
    return next((by_name[name] for name in wanted if name in by_name), None)


def find_column(names: Sequence[str], role: str, given: str | None, path: Path) -> str | None:
    """The column of a role: the one that was given, else one with a common name, else None.

    Raises:
        DataError: the given column does not exist.
    """
    if given is None:
        return first_column(names, COLUMNS[role])
    if given not in names:
        raise DataError(f"{path}: no column '{given}'. Columns: {', '.join(names)}")
    return given


def need_column(names: Sequence[str], role: str, given: str | None, path: Path) -> str:
    """As `find_column`, for a role that must be there.

    Raises:
        DataError: there is no such column.
    """
    name = find_column(names, role, given, path)
    if name is None:
        raise DataError(
            f"{path}: no column for the {role}: none is called {', '.join(COLUMNS[role])}. "
            f"Name one with --column {role}=NAME. Columns: {', '.join(names)}{_hint(role, names)}"
        )
    return name


def _hint(role: str, names: Sequence[str]) -> str:
    """What may stand behind a column that is missing."""
    if len(names) == 1:
        return (
            ". There is one column only: is another separator between the fields, or does another "
            "line stand above the names?"
        )
    if role == "time":
        return ". Do the rows of a user stand in the order of time? Then give --file-order"
    if role in ("user", "item"):
        return ". Does a line hold a user and all of their items? Then give --layout user-sequences"
    return ""


class Cells(NamedTuple):
    """Values of one column.

    Attributes:
        name: what messages call the column.
        rows: the number of the row of each value.
        values: texts, or what JSON holds.
    """

    name: str
    rows: Sequence[int]
    values: Sequence[Any]

    def where(self, mask: Mask) -> Cells:
        """The values under a mask [m]."""
        rows, values = compress(self.rows, mask), compress(self.values, mask)
        return Cells(self.name, list(rows), list(values))

    def series(self) -> pd.Series:
        """The same for pandas, of the type object."""
        import pandas as pd

        return pd.Series(list(self.values), dtype=object)


class Column(ABC):
    """The values of one column, chunk by chunk.

    Attributes:
        pending: arrays [m] of the chunk that was read last.
        count: values that were kept.
    """

    def __init__(self) -> None:
        self.pending: tuple[NDArray[Any], ...] = ()
        self.count = 0
        self._kept: list[tuple[NDArray[Any], ...]] = []

    @abstractmethod
    def read(self, cells: Cells, faults: Faults | None) -> Mask:
        """Understand the values [m] of a chunk; which of them could be. Others become faults."""

    def keep(self, good: Mask) -> None:
        """Take the values under a mask [m] of the chunk that was read."""
        self.count += int(good.sum())
        self._kept.append(tuple(array[good] for array in self.pending))

    def arrays(self) -> list[NDArray[Any]]:
        """All values that were kept, [M] each."""
        return [np.concatenate(parts) for parts in zip(*self._kept, strict=True)]

    @staticmethod
    def note(cells: Cells, bad: Mask, kind: str, faults: Faults) -> None:
        """Make faults of the values that are no such thing."""
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            problem = f"column '{cells.name}', {{row}}: {cells.values[at]!r} is not {kind}"
            faults.add(cells.rows[at], problem, int(bad.sum()))


class Numbers(Column):
    """Finite numbers."""

    def __init__(self, dtype: DTypeLike = np.float64) -> None:
        super().__init__()
        self._dtype = dtype

    def read(self, cells: Cells, faults: Faults | None) -> Mask:
        """Which values are finite numbers."""
        import pandas as pd

        numbers = pd.to_numeric(cells.series(), errors="coerce").to_numpy()
        good = np.isfinite(numbers.astype(np.float64))
        if faults is not None:
            self.note(cells, ~good, "a number", faults)
        self.pending = (numbers.astype(self._dtype),)
        return good


def parse_numbers(values: pd.Series, path: Path) -> NDArray[np.float64] | NDArray[np.int64]:
    """Finite numbers [M], int64 where all are integers.

    Raises:
        DataError: names the first value that is no number.
    """
    import pandas as pd

    faults = Faults(path)
    column = Numbers()
    column.read(Cells(str(values.name), values.index.tolist(), values.tolist()), faults)
    faults.check(len(values))
    exact = pd.to_numeric(values).to_numpy()
    if exact.dtype.kind == "f" and (exact == np.round(exact)).all() and (abs(exact) < 2**53).all():
        exact = exact.astype(np.int64)
    return exact
