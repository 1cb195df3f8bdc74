"""The users of the test rows, kept beside the records so that a report needs no data set.

Paired tests treat the rows of one user as one observation. Records hold a rank per test row; whose
row it is belongs to the data, so it is stored once per data fingerprint:
`<results>/users/<data fingerprint>.npy`, int32 [R_test].
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from bench.data.examples import Ids, PreparedData
from bench.files import write_whole, writing_to

FOLDER = "users"

_logger = logging.getLogger(__name__)


def save_users(results: Path, data: PreparedData) -> None:
    """Store the users of the test rows of `data`, in place of what is there.

    Safe to call from several processes: the file appears whole, and its content depends on its
    name alone.

    Raises:
        ConfigError: the results folder cannot be written to.
    """
    path = _path(results, data.fingerprint)
    users = np.asarray(data.test.user, dtype=np.int32)
    with writing_to(f"results folder {results}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda stream: np.save(stream, users))


def load_users(results: Path, fingerprint: str) -> Ids | None:
    """Users of the test rows, int32 [R_test]; None where they are not stored, or damaged."""
    path = _path(results, fingerprint)
    try:
        users: Ids = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError) as error:
        _logger.warning("ignored %s: cannot be read: %s", path, error)
        return None
    return users


def _path(results: Path, fingerprint: str) -> Path:
    return results / FOLDER / f"{fingerprint}.npy"
