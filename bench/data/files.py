"""What is written into a dataset's folder: under its lock, as JSON."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bench import limits
from bench.errors import DataError
from bench.folders import locked


def dataset_locked(home: Path) -> AbstractContextManager[None]:
    """Be the only process that makes source or rows in the folder of a dataset.

    Args:
        home: folder of the dataset; made if missing.

    Raises:
        ConfigError: the folder cannot be written to.
    """
    return locked(home, home / ".lock")


def write_json(path: Path, content: Any) -> None:
    """Write JSON inside a folder that is itself written whole or not at all."""
    # A line for each value, without json's `indent`, which takes ten times as long.
    text = json.dumps(content, ensure_ascii=False, separators=(",\n", ": "))
    path.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        DataError: unreadable or no JSON.
    """
    try:
        return json.loads(limits.read_whole(path, limits.ARRAY))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}; delete its folder") from error
