"""Small tables of examples, made of users' sequences of items."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from bench.data.examples import Examples

N, HISTORY = 12, 4


def examples_of(sequences: list[list[int]]) -> Examples:
    """An example for each item of a sequence but its first; histories are the last items before."""
    table = [
        (user, place, items[max(0, place - HISTORY) : place], items[place])
        for user, items in enumerate(sequences)
        for place in range(1, len(items))
    ]
    history = [before + [0] * (HISTORY - len(before)) for _, _, before, _ in table]
    columns = ([len(row[2]) for row in table], *([row[i] for row in table] for i in (3, 0, 1)))
    return Examples(*(np.array(column, dtype=np.int32) for column in (history, *columns)))


_ITEMS = st.lists(st.integers(1, N), min_size=2, max_size=7)
TABLES = st.lists(_ITEMS, min_size=1, max_size=8).map(examples_of)
"""Examples of up to 8 users over a catalogue of `N` items, with repetitions."""


def users_of(examples: Examples) -> dict[int, set[int]]:
    """The items in the examples of each user, by loops."""
    found: dict[int, set[int]] = {}
    for user, history, target in zip(examples.user, examples.history, examples.target, strict=True):
        found.setdefault(int(user), set()).update({*history.tolist(), int(target)} - {0})
    return found


def popularity(examples: Examples) -> list[float]:
    """Share of each item among the targets, one more of each, by loops."""
    counts = [1 + examples.target.tolist().count(item) for item in range(1, N + 1)]
    return [count / sum(counts) for count in counts]


def mixture(scores: list[float], popular: list[float], share: float) -> list[float]:
    """Scores as probabilities, mixed with the popularity."""
    if sum(scores) == 0:
        return popular
    return [
        (1 - share) * score / sum(scores) + share * one
        for score, one in zip(scores, popular, strict=True)
    ]
