"""Tables that pandas pickled, read without running anything else that the file asks for.

A pickle is a program: it names functions and calls them. Only the names that pandas and NumPy write
for a table of numbers and texts (from pandas 1.3 on) are found; any other is refused.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from pandas import DataFrame
from pandas.compat.pickle_compat import Unpickler  # type: ignore[import-not-found]

from bench.errors import DataError

Cell = Any
"""A number, text, truth value or None, or a list of them."""

_INDEX = "pandas.core.indexes"
ALLOWED = {
    *("pandas.DataFrame", "pandas.core.frame.DataFrame"),
    "pandas.core.internals.managers.BlockManager",
    "pandas._libs.internals._unpickle_block",
    *("pandas.Index", f"{_INDEX}.base.Index", f"{_INDEX}.base._new_Index"),
    *("pandas.RangeIndex", f"{_INDEX}.range.RangeIndex"),
    *(f"{_INDEX}.numeric.{kind}Index" for kind in ("Int64", "UInt64", "Float64")),
    *("pandas.StringDtype", "pandas.arrays.StringArray", "pandas.arrays.ArrowStringArray"),
    "pandas._libs.arrays.__pyx_unpickle_NDArrayBacked",
    *("pyarrow.lib._restore_array", "pyarrow.lib.type_for_alias", "pyarrow.lib.py_buffer"),
    *("numpy.ndarray", "numpy.dtype"),
    *(
        f"numpy.{core}.{name}"
        for core in ("core", "_core")
        for name in ("multiarray._reconstruct", "multiarray.scalar", "numeric._frombuffer")
    ),
    "_codecs.encode",
    *(
        f"{home}.{name}"
        for home in ("builtins", "__builtin__")
        for name in ("slice", "bytes", "bytearray")
    ),
}
"""Every name that may stand in the file."""


def read_pickled(path: Path) -> dict[str, list[Cell]]:
    """The columns of a pickled pandas table, by name; its index is left out.

    Raises:
        DataError: the file is damaged, names anything but the parts of a table, or holds something
            else than a table of numbers, texts and lists of them.
    """
    try:
        with path.open("rb") as stream:
            frame = _Unpickler(stream).load()
        if not isinstance(frame, DataFrame) or frame.empty:
            raise TypeError(f"a {type(frame).__name__} without rows, or no table")
        return {str(name): [_cell(v) for v in frame[name].tolist()] for name in frame.columns}
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except _Refused as error:
        raise DataError(
            f"{path}: names '{error}', which is no part of a plain table; nothing of it was run. "
            "A table of numbers and texts is read; save anything else as csv or parquet"
        ) from None
    except Exception as error:  # a file can be wrong in as many ways as there are exceptions
        raise DataError(
            f"{path}: damaged, or no table of numbers and texts as pandas pickles it "
            f"({type(error).__name__}: {error}); csv and parquet are read as well"
        ) from error


class _Refused(Exception):
    """A name outside of `ALLOWED`, or what only other files than tables do with one."""


class _Unpickler(Unpickler):  # type: ignore[misc] # pandas' own, which knows its older versions
    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in ALLOWED:
            raise _Refused(f"{module}.{name}")
        return super().find_class(module, name)

    def load_build(self) -> None:
        if callable(self.stack[-2]):  # a class that is given attributes concerns other files too
            raise _Refused(f"attributes of {self.stack[-2]!r}")
        super().load_build()

    dispatch = Unpickler.dispatch | {pickle.BUILD[0]: load_build}


def _cell(value: Any) -> Cell:
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(part) for part in value]
    return _plain(value)


def _plain(value: Any) -> Cell:
    plain = value.item() if isinstance(value, np.generic) else value
    if plain is None or isinstance(plain, bool | int | float | str):
        return plain
    raise TypeError(f"a cell holds {type(value).__name__}")
