"""The arrays beside a record: their files, how they are read, and their hashes."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import limits
from bench.data.examples import Ids
from bench.errors import DataError
from bench.records.archive import UNREADABLE, Place

RANKS, MASKED_RANKS = "ranks.npy", "masked_ranks.npy"
STUDENT = "student.safetensors"

_PLAIN = re.compile(
    rb"\x93NUMPY\x01\x00v\x00\{'descr': '<i4', 'fortran_order': False, 'shape': \((\d+),\), \} *\n"
)
"""How NumPy begins a file of int32 [R]; its own reader takes ten times as long."""


class MissingRanks(DataError):
    """There is no file of ranks."""


def read_ranks(path: Place) -> Ids:
    """Ranks of the targets of test examples, int32 [R_test], each at least 1.

    Raises:
        MissingRanks: there are none.
        DataError: they are cut off, or something else.
    """
    try:
        content = limits.read_whole(path, limits.ARRAY)
    except FileNotFoundError as error:
        raise MissingRanks(f"{path.name} is missing: this record has no ranks") from error
    except UNREADABLE as error:
        raise DataError(f"{path.name}: cannot be read: {error}") from error
    ranks = _vector(content, path.name)
    if not len(ranks):
        raise DataError(f"{path.name}: not whole numbers [R_test], one for each test example")
    if (least := ranks.min()) < 1:
        raise DataError(f"{path.name}: holds the rank {least}; ranks count from 1")
    return ranks


def read_users(path: Place) -> Ids:
    """Users of the test examples, int [R_test], each at least 0.

    Raises:
        DataError: they are something else.
    """
    try:
        users = _vector(limits.read_whole(path, limits.ARRAY), path.name)
    except UNREADABLE as error:
        raise DataError(f"cannot be read: {error}") from error
    if not len(users) or users.min() < 0:
        raise DataError("not users, one for each test example, that count from 0")
    return users


def _vector(content: bytes, name: str) -> Ids:
    """Whole numbers [R] that NumPy has saved."""
    if plain := _PLAIN.match(content):
        length, start = int(plain[1]), plain.end()
        if len(content) == start + 4 * length:
            return np.frombuffer(content, "<i4", offset=start)
        raise DataError(f"{name}: cannot be read: it is cut off")
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except UNREADABLE as error:
        raise DataError(f"{name}: cannot be read: {error}") from error
    # An archive of arrays can be loaded as well.
    if not (isinstance(array, np.ndarray) and array.ndim == 1 and array.dtype.kind in "iu"):
        raise DataError(f"{name}: not whole numbers [R_test], one for each test example")
    return array


def array_hash(array: NDArray[Any]) -> str:
    """SHA-256 of whole numbers [R], whatever their type."""
    return hashlib.sha256(np.ascontiguousarray(array, dtype="<i4").data).hexdigest()


def state_hash(state: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of a student's tensors: their names, types, shapes and values."""
    total = hashlib.sha256()
    for name, array in sorted(state.items()):
        total.update(f"{name} {array.dtype} {array.shape}\n".encode())
        total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def hashes(
    ranks: Ids, masked_ranks: Ids | None, state: Mapping[str, NDArray[Any]]
) -> dict[str, str]:
    """Hash of each array beside a record, by its file."""
    found = {RANKS: array_hash(np.asarray(ranks))}
    if masked_ranks is not None:
        found[MASKED_RANKS] = array_hash(np.asarray(masked_ranks))
    if state:
        found[STUDENT] = state_hash(state)
    return found
