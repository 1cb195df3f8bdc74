"""What baselines count in training examples, and probabilities made of counts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.baselines.interface import BaselineConfig, Floats
from bench.data.examples import Examples, Ids


class MixtureConfig(BaselineConfig):
    """Settings of a baseline whose scores are mixed with the popularity."""

    popularity: float = Field(
        0.1, gt=0, lt=1, description="share of the popularity in the mixture; orders the unseen"
    )


def popularity(examples: Examples, n_items: int) -> Floats:
    """Share of each item among the targets [N], one more of each so that none is impossible."""
    counts = np.bincount(examples.target, minlength=n_items + 1)[1:] + 1.0
    return (counts / counts.sum()).astype(np.float32)


def log_mixture(scores: Floats, popularity: Floats, share: float) -> Floats:
    """Logarithm of (1 - share) * scores / sum + share * popularity; of popularity without scores.

    Args:
        scores: float32 [B, N], not negative; overwritten.
        popularity: float32 [N], sums to 1.
        share: of the popularity.
    """
    total = scores.sum(axis=1, keepdims=True)
    scores *= np.divide(1 - share, total, out=np.zeros_like(total), where=total > 0)
    scores += np.where(total > 0, share, 1.0).astype(np.float32) * popularity
    return np.log(scores, out=scores)


def occurrences(row: NDArray[Any], item: Ids, shape: tuple[int, int]) -> Any:
    """How often each row has each item (ids 1..N): sparse float32 [rows, N]."""
    from scipy import sparse  # here: whoever asks a baseline for its obstacle needs none of it

    ones = np.ones(len(row), dtype=np.float32)
    return sparse.csr_matrix((ones, (row, item - 1)), shape=shape)


def in_histories(history: Ids, n_items: int) -> Any:
    """How often each history [B, L] has each item: sparse float32 [B, N]."""
    row, column = np.nonzero(history)
    return occurrences(row, history[row, column], (len(history), n_items))


def consumed(examples: Examples, n_items: int) -> Any:
    """Users by items, sparse float32 [U, N]: 1 where the item is in one of the user's examples."""
    items = np.column_stack([examples.history, examples.target])
    row, column = np.nonzero(items)
    shape = (int(examples.user.max()) + 1, n_items)
    table = occurrences(examples.user[row], items[row, column], shape)
    table.data[:] = 1.0
    return table
