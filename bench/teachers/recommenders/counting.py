"""Recommenders that count: nothing is trained, they are converged from the start."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from scipy import sparse

from bench.data.examples import Examples, Ids

Floats = NDArray[np.float32]


class CountingModel(Protocol):
    """A recommender made of counts."""

    Parameters: ClassVar[type[BaseModel]]

    def __init__(self, parameters: Any, rows: Examples, n_items: int) -> None:
        """Args: parameters: an instance of `Parameters`. rows: the rows to count. n_items: N."""

    def log_probabilities(self, history: Ids, length: Ids) -> Floats:
        """float32 [B, N] of histories [B, L] of these lengths; column i - 1 is item i."""


class MixtureParameters(BaseModel):
    """What every counting model has to say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    popularity: float = Field(
        0.1, gt=0, lt=1, description="share of the popularity in the mixture; orders the unseen"
    )


class NeighbourParameters(MixtureParameters):
    """Of `ItemKNN`."""

    neighbours: PositiveInt = Field(100, description="nearest items kept for each item")


class ItemKNN:
    """Items that were consumed by the same users (Deshpande & Karypis, TOIS 2004).

    sim(i, j) = c_ij / sqrt(c_ii c_jj), c_ij the number of users with both items in their rows;
    an item counts with its nearest neighbours only. An item's score is the sum of its similarities
    to the items of the history.
    """

    Parameters: ClassVar[type[BaseModel]] = NeighbourParameters

    def __init__(self, parameters: NeighbourParameters, rows: Examples, n_items: int) -> None:
        self.share = parameters.popularity
        self.popularity = _popularity(rows, n_items)
        self.similarities = _nearest(_cosine(_consumed(rows, n_items)), parameters.neighbours)

    def log_probabilities(self, history: Ids, length: Ids) -> Floats:
        row, column = np.nonzero(history)
        ones = np.ones(len(row), dtype=np.float32)
        shape = (len(history), self.similarities.shape[0])
        seen = sparse.csr_matrix((ones, (row, history[row, column] - 1)), shape=shape)
        return _mixture((seen @ self.similarities).toarray(), self.popularity, self.share)


class MarkovChain:
    """How often an item came directly after the last one of the history."""

    Parameters: ClassVar[type[BaseModel]] = MixtureParameters

    def __init__(self, parameters: MixtureParameters, rows: Examples, n_items: int) -> None:
        self.share = parameters.popularity
        self.popularity = _popularity(rows, n_items)
        ones = np.ones(len(rows), dtype=np.float32)
        steps = (_last(rows.history, rows.length) - 1, rows.target - 1)
        self.transitions = sparse.csr_matrix((ones, steps), shape=(n_items, n_items))

    def log_probabilities(self, history: Ids, length: Ids) -> Floats:
        followers = self.transitions[_last(history, length) - 1].toarray()
        return _mixture(followers, self.popularity, self.share)


MODELS: dict[str, type[CountingModel]] = {"ItemKNN": ItemKNN, "MarkovChain": MarkovChain}


def most_pairs(rows: Examples) -> int:
    """The most pairs of items of one user that `ItemKNN` may have to count: its time and memory.

    Rows of one user show one another's items: of m rows, the longest history and m targets differ.
    """
    targets = np.bincount(rows.user).astype(np.int64)
    longest = np.zeros_like(targets)
    np.maximum.at(longest, rows.user, rows.length)
    return int(((longest + targets) ** 2).sum())


def _last(history: Ids, length: Ids) -> Ids:
    return history[np.arange(len(history)), length - 1]


def _popularity(rows: Examples, n_items: int) -> Floats:
    """Share of each item among the targets [N], one more of each so that none is impossible."""
    counts = np.bincount(rows.target, minlength=n_items + 1)[1:] + 1.0
    return (counts / counts.sum()).astype(np.float32)


def _mixture(scores: Floats, popularity: Floats, share: float) -> Floats:
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


def _consumed(rows: Examples, n_items: int) -> Any:
    """Users by items, sparse float32 [U, N]: 1 where the item is in one of the user's rows."""
    items = np.column_stack([rows.history, rows.target])
    row, column = np.nonzero(items)
    ones = np.ones(len(row), dtype=np.float32)
    shape = (int(rows.user.max()) + 1, n_items)
    table = sparse.csr_matrix((ones, (rows.user[row], items[row, column] - 1)), shape=shape)
    table.data[:] = 1.0
    return table


def _cosine(table: Any) -> Any:
    """Cosine of the columns of a sparse matrix, without that of a column with itself."""
    together = (table.T @ table).tocoo()
    norms = np.sqrt(together.diagonal())
    other = together.row != together.col
    row, column = together.row[other], together.col[other]
    values = together.data[other] / (norms[row] * norms[column])
    return sparse.csr_matrix((values, (row, column)), shape=together.shape)


def _nearest(similarities: Any, neighbours: int) -> Any:
    """The largest values of each row of a sparse matrix."""
    entries = similarities.tocoo()
    order = np.lexsort((entries.col, -entries.data, entries.row))
    row = entries.row[order]
    first = np.searchsorted(row, row)
    order = order[np.arange(len(row)) - first < neighbours]
    kept = (entries.data[order], (entries.row[order], entries.col[order]))
    return sparse.csr_matrix(kept, shape=similarities.shape)
