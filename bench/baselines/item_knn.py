"""Neighbouring items: those that the same users consumed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, PositiveInt
from scipy import sparse

from bench.baselines import counts
from bench.baselines.interface import AFFORDABLE, Baseline, Floats, register_baseline
from bench.data.examples import Examples, Ids, PreparedData

if TYPE_CHECKING:
    from typing_extensions import Self


@register_baseline("item-knn")
class ItemKNN(Baseline):
    """Items that were consumed by the same users (Deshpande & Karypis, TOIS 2004).

    sim(i, j) = c_ij / sqrt(c_ii c_jj), c_ij the number of users with both items in their examples;
    an item counts with its nearest neighbours only. An item's score is the sum of its similarities
    to the items of the history. Scores become probabilities, mixed with the popularity.
    """

    class Config(counts.MixtureConfig):
        """Settings of item-knn."""

        neighbours: PositiveInt = Field(100, description="nearest items kept for each item")

    def fit(self, examples: Examples, n_items: int) -> Self:
        self.popularity = counts.popularity(examples, n_items)
        similarities = _cosine(counts.consumed(examples, n_items))
        self.similarities = _nearest(similarities, self.config.neighbours)
        return self

    def scores(self, history: Ids, length: Ids) -> Floats:
        """Log-probabilities."""
        seen = counts.in_histories(history, len(self.popularity))
        sums = (seen @ self.similarities).toarray()
        return counts.log_mixture(sums, self.popularity, self.config.popularity)

    def obstacle(self, data: PreparedData) -> str | None:
        pairs = most_pairs(data.train)
        if pairs > AFFORDABLE:
            return f"it would count {pairs:,} pairs of items"
        return super().obstacle(data)


def most_pairs(examples: Examples) -> int:
    """The most pairs of items of one user that `ItemKNN` may have to count: its time and memory.

    Examples of one user show one another's items: of m examples, the longest history and m
    targets differ.
    """
    targets = np.bincount(examples.user).astype(np.int64)
    longest = np.zeros_like(targets)
    np.maximum.at(longest, examples.user, examples.length)
    return int(((longest + targets) ** 2).sum())


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
