"""A linear autoencoder of users' items, in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import psutil
from pydantic import Field, PositiveFloat

from bench.baselines import counts
from bench.baselines.interface import Baseline, BaselineConfig, Floats, register_baseline
from bench.data.examples import Examples, Ids, PreparedData
from bench.errors import BenchError

if TYPE_CHECKING:
    from typing_extensions import Self

LARGEST = 20_000
"""Items of a catalogue on whose leaderboards it stands: at the most seven minutes of processor time
and 5 GB, once for each dataset (Amazon Games, 16,859 items: four minutes and 3.4 GB)."""

BLOCK = 1024


@register_baseline("ease")
class EASE(Baseline):
    """Linear regression of each item on all others, in closed form (Steck, WWW 2019).

    Weights B minimise |X - XB|^2 + l2 |B|^2 under diag(B) = 0, X [U, N] being 1 where an item is
    in one of the user's examples. With P = (X^T X + l2 I)^-1 (eq. 8):

        B_ij = -P_ij / P_jj for i != j

    The score of item j is the sum of B_ij over the items i of the history.

    Matrices are float32: they are half as large and twice as fast as float64, and the regularised
    matrix is so well conditioned (its least eigenvalue is l2) that ranks hardly differ.
    """

    class Config(BaselineConfig):
        """Settings of EASE."""

        l2: PositiveFloat = Field(
            500.0,
            description="weight of the L2 norm: the paper's 500 of MovieLens, and near the best on "
            "validation of MovieLens 1M and of Amazon Games",
        )

    def fit(self, examples: Examples, n_items: int) -> Self:
        """Invert an N x N matrix.

        Raises:
            BenchError: it does not fit in memory, or `l2` is too small for single precision.
        """
        self.weights = inverse_gram("ease", examples, n_items, self.config.l2)
        self.weights /= -self.weights.diagonal()
        self.weights[np.diag_indices(n_items)] = 0
        return self

    def scores(self, history: Ids, length: Ids) -> Floats:
        seen = counts.in_histories(history, len(self.weights))
        seen.data[:] = 1
        return seen @ self.weights

    def obstacle(self, data: PreparedData) -> str | None:
        if data.n_items > LARGEST:
            return f"it would invert a matrix of {data.n_items:,} x {data.n_items:,}"
        return _memory_obstacle(data.n_items) or super().obstacle(data)


def inverse_gram(name: str, examples: Examples, n_items: int, l2: float) -> Floats:
    """P = (X^T X + l2 I)^-1, float32 [N, N], of users' consumption X.

    Args:
        name: of the baseline, for messages.
        examples: whose consumption.
        n_items: N.
        l2: weight of the L2 norm.

    Raises:
        BenchError: it does not fit in memory, or `l2` is too small for single precision.
    """
    if obstacle := _memory_obstacle(n_items):
        raise BenchError(f"{name}: {obstacle}")
    import torch

    users = counts.consumed(examples, n_items).tocsc()
    gram = np.empty((n_items, n_items), dtype=np.float32)
    for start in range(0, n_items, BLOCK):  # the whole need not be sparse
        part = slice(start, start + BLOCK)
        gram[part] = (users[:, part].T @ users).toarray()
    gram[np.diag_indices(n_items)] += l2
    factor, failed = torch.linalg.cholesky_ex(torch.from_numpy(gram))
    if failed:
        raise BenchError(f"{name}: its matrix is singular in single precision; raise l2")
    del gram
    inverse = torch.cholesky_solve(torch.eye(n_items), factor)
    # Torch's solutions have contiguous columns, which in a symmetric matrix are the rows.
    return inverse.numpy().T


def _memory_obstacle(n_items: int) -> str | None:
    needed, free = 12 * n_items**2, psutil.virtual_memory().available
    if needed <= free:
        return None
    return (
        f"it inverts a matrix of {n_items:,} x {n_items:,} items, which takes "
        f"{needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free"
    )
