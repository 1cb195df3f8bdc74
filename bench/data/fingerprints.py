"""SHA-256 of what identifies data: tokens, and integer arrays in a fixed byte order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.examples import Examples


def digest(*parts: Sequence[str] | str | NDArray[Any]) -> str:
    """Hash of texts, lists of texts and integer arrays, in hex; the boundaries count."""
    total = hashlib.sha256()
    for part in parts:
        one = hashlib.sha256()
        if isinstance(part, np.ndarray):
            one.update(np.ascontiguousarray(part, dtype=part.dtype.newbyteorder("<")).data)
        else:
            one.update(json.dumps(part, ensure_ascii=True, separators=(",", ":")).encode())
        total.update(one.digest())
    return total.hexdigest()


def catalogue_fingerprint(item_tokens: Sequence[str]) -> str:
    """Hash of the ordered item tokens."""
    return digest(list(item_tokens))


def split_fingerprint(
    user_tokens: Sequence[str], item_tokens: Sequence[str], tables: Sequence[Examples]
) -> str:
    """Hash of the row keys (user token, ordinal) and the target tokens, row by row."""
    arrays = [a for rows in tables for a in (rows.user, rows.ordinal, rows.target)]
    return digest(list(user_tokens), list(item_tokens), *arrays)


def data_fingerprint(catalogue: str, split: str, tables: Sequence[Examples]) -> str:
    """Hash of catalogue, split and the histories that the rows show."""
    arrays = [a for rows in tables for a in (rows.history, rows.length)]
    return digest(catalogue, split, *arrays)
