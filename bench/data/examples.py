"""Prediction rows: the one form in which every student, teacher and metric sees the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data.order import stable_order
from bench.errors import DataError

Ids = NDArray[np.int32]

BLOCK = 1 << 16
"""Interactions or rows that are looked at together."""


@dataclass(frozen=True)
class Examples:
    """A table of R prediction tasks: given a history, rank the catalogue for the target.

    The position of a row in the table is its `row_id`, for ever: teacher knowledge is addressed
    by it. Item ids run 1..N in catalogue order; 0 is padding.

    Attributes:
        history: int32 [R, L], oldest first, padded with 0 on the right.
        length: int32 [R], number of real items in each history, 1..L.
        target: int32 [R], the item to be ranked, 1..N.
        user: int32 [R], index of the user, 0..U-1.
        ordinal: int32 [R], 0-based position of the target in its user's ordered interactions;
            (user token, ordinal) is the key of a row.
    """

    history: Ids
    length: Ids
    target: Ids
    user: Ids
    ordinal: Ids

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True)
class Sequences:
    """What every user had, in order: interactions that are no target and beyond every history too.

    Attributes:
        item: int32 [M], items 1..N of all interactions, user after user, oldest first.
        start: int64 [U + 1], where each user's begin, and M.
    """

    item: Ids
    start: NDArray[np.int64]

    @classmethod
    def of(cls, user: Ids, item: Ids, n_users: int) -> Sequences:
        """Those of interactions int32 [M] in order of (user, time), items counted from 0."""
        start = np.append(0, np.cumsum(np.bincount(user, minlength=n_users)))
        return cls(np.asarray(item + 1, dtype=np.int32), start.astype(np.int64))

    def is_repeat(self) -> NDArray[np.bool_]:
        """Which interactions are with an item that the user had before: bool [M]."""
        repeat = np.zeros(len(self.item), dtype=np.bool_)
        span = int(self.item.max(initial=0)) + 1
        first = 0
        while first < len(self.start) - 1:  # some users at a time, so that a cache holds them
            enough = np.searchsorted(self.start, self.start[first] + BLOCK)
            last = min(max(int(enough), first + 1), len(self.start) - 1)
            begin, end = self.start[first], self.start[last]
            sizes = np.diff(self.start[first : last + 1])
            pair = np.repeat(np.arange(last - first) * span, sizes) + self.item[begin:end]
            order = stable_order(pair)
            pair = pair[order]
            repeat[begin:end][order[1:][pair[1:] == pair[:-1]]] = True
            first = last
        return repeat


@dataclass(frozen=True)
class PreparedData:
    """One dataset under one protocol: three tables of rows and the catalogue they rank.

    Attributes:
        dataset: name of the dataset.
        protocol: slug of the protocol, such as `temporal-10`.
        item_tokens: the N item tokens; item id i is `item_tokens[i - 1]`.
        item_texts: the N item texts (empty string where an item has none).
        user_tokens: the U user tokens.
        catalogue_fingerprint: hash of the ordered item tokens.
        split_fingerprint: hash of the row keys and targets of the three tables.
        fingerprint: hash of the two and of the histories; identity of the data in a trial's key.
        sequences: what each user had before an example's target; None where nobody knows.
    """

    dataset: str
    protocol: str
    item_tokens: list[str]
    item_texts: list[str]
    user_tokens: list[str]
    train: Examples
    valid: Examples
    test: Examples
    catalogue_fingerprint: str
    split_fingerprint: str
    fingerprint: str
    sequences: Sequences | None = None

    @property
    def n_items(self) -> int:
        """N, the size of the catalogue without padding."""
        return len(self.item_tokens)

    @property
    def n_users(self) -> int:
        return len(self.user_tokens)

    def texts(self) -> list[str]:
        """The N item texts, for whoever knows items by nothing else.

        Raises:
            DataError: no item has one.
        """
        if any(text.strip() for text in self.item_texts):
            return self.item_texts
        raise DataError(
            f"the items of '{self.dataset}' have no texts, and this teacher reads nothing else of "
            "them: import the dataset with a table of items that has a column 'title', or take a "
            "teacher that reads none, such as ensemble"
        )

    def interaction_counts(self) -> NDArray[np.int64]:
        """How often each item occurs in training, as a target or in a history: int64 [N + 1].

        An interaction that several histories show counts once; entry 0 is 0.
        """
        rows = self.train
        counts = self.target_counts()
        order = np.lexsort((rows.ordinal, rows.user))
        place = np.arange(rows.history.shape[1])
        for start in range(0, len(order), BLOCK):  # histories are most of what the rows take
            part = order[start : start + BLOCK]
            before = order[np.arange(start, start + len(part)) - 1]
            # What the row before, if it is the user's, shows ends at its own target.
            follows = rows.user[part] == rows.user[before]
            follows[0] &= start > 0
            known = np.where(follows, rows.ordinal[before], -1)
            length = rows.length[part]
            fresh = np.minimum(length, rows.ordinal[part] - known - 1)
            is_first = (length - fresh)[:, None] <= place
            shown = rows.history[part][is_first & (place < length[:, None])]
            counts += np.bincount(shown, minlength=self.n_items + 1)
        return counts

    def target_counts(self) -> NDArray[np.int64]:
        """How often each item is a *training* target: int64 [N + 1], entry 0 is 0."""
        return np.bincount(self.train.target, minlength=self.n_items + 1).astype(np.int64)
