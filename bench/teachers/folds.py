"""Lists that come from a teacher that was not trained on the rows they speak of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from bench.data.examples import Examples
from bench.errors import BenchError
from bench.plan import seed_of
from bench.teachers.lists import Lists
from bench.teachers.rows import rows_where


class OutOfFold(BaseModel):
    """Which rows a teacher must not have seen when it lists items for one of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folds: int = Field(3, ge=2, description="models that are trained for the lists")
    by: Literal["user", "target"] = Field(
        "user", description="never trained on a row of the row's user, or of its target"
    )


def folds_of(rows: Examples, options: OutOfFold, seed: int) -> NDArray[np.int64]:
    """The fold of every row, int64 [R], 0..folds - 1: that of its user or of its target.

    Users (or targets) are dealt out at random, as many to a fold as to any other.

    Raises:
        BenchError: there are fewer users (or targets) than folds.
    """
    keys, group = np.unique(getattr(rows, options.by), return_inverse=True)
    if len(keys) < options.folds:
        raise BenchError(
            f"lists out of {options.folds} folds by {options.by} need as many {options.by}s; "
            f"the training rows have {len(keys)}"
        )
    random = np.random.default_rng(seed_of(seed, "folds", options.by))
    return random.permutation(len(keys))[group] % options.folds


def out_of_fold(
    rows: Examples, fold: NDArray[np.int64], answer: Callable[[Examples, Examples], Lists]
) -> Lists:
    """The lists of all rows, each from a teacher that learned from the other folds.

    Args:
        rows: R rows.
        fold: int64 [R], 0..F - 1.
        answer: of rows to learn from and rows to list items for, the lists of the latter.
    """
    parts, places = [], []
    for number in range(int(fold.max()) + 1):
        asked = fold == number
        parts.append(answer(rows_where(rows, ~asked), rows_where(rows, asked)))
        places.append(np.flatnonzero(asked))
    back = np.argsort(np.concatenate(places))
    columns = zip(*((part.ids, part.distances, part.truth) for part in parts), strict=True)
    return Lists(*(np.concatenate(column)[back] for column in columns))
