"""The users of the test rows, kept beside the records so that a report needs no data set.

Paired tests treat the rows of one user as one observation. Records hold a rank per test row; whose
row it is belongs to the data, so it is stored once per data fingerprint:
`<results>/users/<data fingerprint>.npy`, int32 [R_test].
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from bench.data.rows import Ids, PreparedData

FOLDER = "users"


def save_users(results: Path, data: PreparedData) -> None:
    """Store the users of the test rows of `data` if they are not there yet.

    Safe to call from several processes: the file appears whole, and its content depends on its
    name alone.
    """
    path = _path(results, data.fingerprint)
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-", suffix=".npy")
    try:
        with os.fdopen(handle, "wb") as stream:
            np.save(stream, np.asarray(data.test.user, dtype=np.int32))
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def load_users(results: Path, fingerprint: str) -> Ids | None:
    """Users of the test rows, int32 [R_test], or None where they were never stored."""
    path = _path(results, fingerprint)
    return np.load(path, allow_pickle=False) if path.exists() else None


def _path(results: Path, fingerprint: str) -> Path:
    return results / FOLDER / f"{fingerprint}.npy"
