"""Tables that pandas pickled, read without running anything that the file asks for.

A pickle is a program: it names functions and calls them. Here every name that pandas and NumPy
write for a table of numbers and texts stands for an inert record of what it was called with, and
any other name is refused. The records are then read as data, so that neither pandas nor NumPy
builds anything the file describes, and the versions that wrote it do not matter (pandas from 1.3).
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

_DTYPE = re.compile(r"[iuf][1248]|b1|[SU]\d+|O[48]?")


def read_pickled(path: Path) -> dict[str, list[Cell]]:
    """The columns of a pickled pandas table, by name; its index is left out.

    Raises:
        DataError: the file is damaged, names anything but the parts of a table, or holds something
            else than a table of numbers, texts and lists of them.
    """
    try:
        with path.open("rb") as stream:
            return _columns(_Reader(stream).load())
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
    """A name outside of `ALLOWED`."""


class _Record:
    """What the file wanted to call: the last part of its name, arguments and state."""

    name = ""

    def __new__(cls, *args: Any, **_: Any) -> _Record:
        record = object.__new__(cls)
        record.args, record.state = args, None
        return record

    def __init__(self, *args: Any, **_: Any) -> None:
        self.args: tuple[Any, ...]
        self.state: Any

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Reader(pickle.Unpickler):
    """Gives a record in place of every allowed name."""

    def find_class(self, module: str, name: str) -> type[_Record]:
        if f"{module}.{name}" not in ALLOWED:
            raise _Refused(f"{module}.{name}")
        # A class of its own for each call: what a file does to it concerns no other file.
        return type(name, (_Record,), {"name": name})


def _columns(table: Any) -> dict[str, list[Cell]]:
    blocks, (names, _) = _called(_called(table, "DataFrame").state["_mgr"], "BlockManager").args
    found: dict[int, list[Cell]] = {}
    columns = _values(_called(names, "_new_Index").args[1]["data"])
    for block in blocks:
        values, place, _ = _called(block, "_unpickle_block").args
        rows = np.atleast_2d(_values(values))
        places = _places(place, len(columns))
        found |= {at: _cells(row) for at, row in zip(places, rows, strict=True)}
    if len({len(column) for column in found.values()} | {0}) != 2:
        raise ValueError("no rows, or columns of several lengths")
    return {str(name): found[at] for at, name in enumerate(columns)}


def _called(value: Any, *names: str) -> _Record:
    if not isinstance(value, _Record) or value.name not in names:
        kind = value.name if isinstance(value, _Record) else type(value).__name__
        raise ValueError(f"{names[0]} expected, {kind} found")
    return value


def _values(value: Any) -> NDArray[Any]:
    """The array that a record describes."""
    record = _called(
        value, "_reconstruct", "_frombuffer", "ArrowStringArray", "__pyx_unpickle_NDArrayBacked"
    )
    if record.name == "ArrowStringArray":
        return _arrow_texts(_called(record.state["_pa_array"], "_restore_array").args[0])
    if record.name == "__pyx_unpickle_NDArrayBacked":
        return _values(record.state[1])
    if record.name == "_frombuffer":
        data, described, shape, order = record.args
    else:
        _, shape, described, fortran, data = record.state
        order = "F" if fortran else "C"
    dtype = _dtype(described)
    flat = (
        np.fromiter(data, dtype=object, count=len(data))
        if dtype.hasobject
        else np.frombuffer(_bytes(data), dtype)
    )
    return flat.reshape(shape, order=order)


def _arrow_texts(described: Any) -> NDArray[Any]:
    """Texts as Arrow keeps them: the bytes of all, and where each of them begins."""
    kind, count, _, first, (valid, offsets, data), *_ = described
    wide = _called(kind, "type_for_alias").args[0] == "large_string"
    places = np.frombuffer(_bytes(offsets), np.int64 if wide else np.int32)[first:]
    whole = _bytes(data)
    texts = [whole[places[i] : places[i + 1]].decode() for i in range(count)]
    if valid is not None:
        bits = np.unpackbits(np.frombuffer(_bytes(valid), np.uint8), bitorder="little")[first:]
        texts = [text if bits[i] else "" for i, text in enumerate(texts)]
    return np.array(texts, dtype=object)


def _bytes(value: Any) -> bytes:
    while isinstance(value, _Record) and value.name in ("py_buffer", "bytes", "bytearray"):
        value = value.args[0] if value.args else b""
    if isinstance(value, _Record):
        text, encoding = _called(value, "encode").args
        return str(text).encode(encoding)
    return bytes(memoryview(value))


def _dtype(value: Any) -> np.dtype[Any]:
    record = _called(value, "dtype")
    code, order = record.args[0], record.state[1]
    if not isinstance(code, str) or not _DTYPE.fullmatch(code):
        raise ValueError(f"values of type {code!r}")
    return np.dtype(object if code[0] == "O" else code).newbyteorder(order)


def _places(value: Any, count: int) -> list[int]:
    """Which columns a block holds: a slice or an array of their places."""
    if isinstance(value, _Record) and value.name == "slice":
        return list(range(count))[slice(*value.args)]
    return [int(at) for at in _values(value)]


def _cells(values: NDArray[Any]) -> list[Cell]:
    return [_cell(value) for value in values] if values.dtype.hasobject else values.tolist()


def _cell(value: Any) -> Cell:
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, _Record) and value.name != "scalar":
        array = _values(value)
        return [_plain(part) for part in array.tolist()]
    return _plain(value)


def _plain(value: Any) -> Cell:
    if isinstance(value, _Record):
        described, data = _called(value, "scalar").args
        return np.frombuffer(_bytes(data), _dtype(described)).item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"a cell holds {type(value).__name__}")
