"""Tables that pandas pickled, read without running anything else that the file asks for.

A pickle is a program: it names functions and calls them. Only the names that pandas and NumPy write
for a table of numbers and texts (from pandas 1.3 on) are found; any other is refused.
"""

from __future__ import annotations

import io
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from pandas import DataFrame
from pandas.compat.pickle_compat import Unpickler  # type: ignore[import-not-found]

from bench import limits
from bench.errors import BenchError, DataError
from bench.limits import Budget

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
        TooMuch: its parts claim, or stand for, far more than its size lets expect.
    """
    try:
        with limits.reading(path) as budget:
            frame = _Unpickler(path.read_bytes(), budget).load()
            if not isinstance(frame, DataFrame) or frame.empty:
                raise TypeError(f"a {type(frame).__name__} without rows, or no table")
            return {str(name): _column(frame[name], budget) for name in frame.columns}
    except BenchError:
        raise
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
    stack: list[Any]

    def __init__(self, content: bytes, budget: Budget) -> None:
        super().__init__(io.BytesIO(content))  # which gives no more than there is
        self._budget = budget

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in ALLOWED:
            raise _Refused(f"{module}.{name}")
        return _INSTEAD.get(name) or super().find_class(module, name)

    def load_reduce(self) -> None:
        self._budget.cells(limits.weight(self.stack[-1]))
        super().load_reduce()

    def load_newobj(self) -> None:
        self._budget.cells(limits.weight(self.stack[-1]))
        super().load_newobj()

    def load_bytearray8(self) -> None:
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))

    def load_build(self) -> None:
        made, state = self.stack[-2:]
        if callable(made):  # a class that is given attributes concerns other files too
            raise _Refused(f"attributes of {made!r}")
        self._budget.cells(limits.weight(state))
        if isinstance(made, np.ndarray) and math.prod(state[-4]) > len(state[-1]):
            raise ValueError(f"an array of shape {state[-4]} from {len(state[-1]):,} values")
        super().load_build()

    def load_setitems(self) -> None:
        items = self.pop_mark()
        if not all(isinstance(name, str) for name in items[::2]):  # a hash walks through tuples
            raise TypeError("a name that is no text")
        if not isinstance(self.stack[-1], dict):
            raise TypeError("names of what is no mapping")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def load_setitem(self) -> None:
        self.metastack.append(self.stack[:-2])
        self.stack = self.stack[-2:]
        self.load_setitems()

    dispatch = Unpickler.dispatch | {
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_newobj,
        pickle.BUILD[0]: load_build,
        pickle.BYTEARRAY8[0]: load_bytearray8,
        pickle.SETITEMS[0]: load_setitems,
        pickle.SETITEM[0]: load_setitem,
    }
    for _code in "EMPTY_SET", "ADDITEMS", "FROZENSET", "DICT", "OBJ", "INST", "NEWOBJ_EX":
        del dispatch[getattr(pickle, _code)[0]]  # by which no table was ever pickled


def _text_of_bytes(text: str, encoding: str) -> bytes:
    """Bytes as earlier protocols pickle them."""
    if encoding != "latin1":
        raise ValueError(f"bytes in the encoding {encoding!r}")
    return text.encode(encoding)


def _made_of(*parts: Any) -> bytes:
    """Bytes of bytes, and not of a number, which would be their length."""
    if not all(isinstance(part, bytes | str) for part in parts):
        raise TypeError("bytes of something else")
    return bytes(*parts)


def _restored(parts: Any) -> Any:
    """An array of texts whose parts lie within what they are parts of, none over another."""
    import pyarrow

    array = pyarrow.lib._restore_array(parts)
    array.validate(full=True)
    return array


_INSTEAD = {
    "_reconstruct": lambda kind, shape, code: np.ndarray(0, np.int8),  # its state says the shape
    "ndarray": object(),  # an argument of the last, called by no table
    "encode": _text_of_bytes,
    "bytes": _made_of,
    "bytearray": _made_of,
    "_restore_array": _restored,
}
"""What stands for functions that would take memory, or trust, at the word of the file."""


def _column(values: Any, budget: Budget) -> list[Cell]:
    budget.cells(len(values))
    cells = values.tolist()
    for cell in cells:
        if isinstance(cell, list | tuple | np.ndarray):  # which may be one list in every row
            budget.cells(len(cell))
    return [_cell(value) for value in cells]


def _cell(value: Any) -> Cell:
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(part) for part in value]
    return _plain(value)


def _plain(value: Any) -> Cell:
    plain = value.item() if isinstance(value, np.generic) else value
    if plain is None or isinstance(plain, bool | int | float | str):
        return plain
    raise TypeError(f"a cell holds {type(value).__name__}")
