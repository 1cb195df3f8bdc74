"""Rows as teachers take them: parts held out, blocks to score, the items left and their ties."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

from bench.data.examples import Examples, PreparedData
from bench.errors import BenchError
from bench.evaluation.metrics import parse_metric
from bench.evaluation.significance import compare_by_user
from bench.training.rows import DeviceRows

_logger = logging.getLogger(__name__)

BLOCK = 1024
"""Rows for which every item is scored at a time."""


def hold_out(rows: Examples, share: float, seed: int) -> tuple[Examples, Examples]:
    """Take the last rows of users out of training rows.

    Of n rows of a user, the last floor(share * n + u) are held out, u uniform in [0, 1): a user
    with a single row loses it with probability `share`.

    Returns:
        The rows to learn from and those held out, neither empty.

    Raises:
        BenchError: there are too few rows.
    """
    order = np.lexsort((rows.ordinal, rows.user))
    counts = np.bincount(rows.user)
    taken = np.floor(share * counts + np.random.default_rng(seed).random(len(counts)))
    user = rows.user[order]
    behind = np.cumsum(counts)[user] - 1 - np.arange(len(order))
    held = np.zeros(len(rows), dtype=bool)
    held[order[behind < taken[user]]] = True
    if held.all() or not held.any():
        raise BenchError(f"{len(rows)} training rows are too few to hold {share:.0%} of them out")
    return rows_where(rows, ~held), rows_where(rows, held)


def rows_where(rows: Examples, chosen: NDArray[np.bool_] | slice) -> Examples:
    """The rows that are True in `chosen`, bool [R], or that it cuts out, in their order."""
    columns = (rows.history, rows.length, rows.target, rows.user, rows.ordinal)
    return Examples(*(np.asarray(column)[chosen] for column in columns))


def sampled(count: int, most: int | None, seed: int) -> NDArray[np.bool_]:
    """At most so many of some rows, drawn at random: bool [count]; None: all of them."""
    chosen = np.zeros(count, dtype=bool)
    chosen[np.random.default_rng(seed).permutation(count)[:most]] = True
    return chosen


def intervals(ranks: ArrayLike, rows: Examples, metrics: Iterable[str]) -> dict[str, list[float]]:
    """The 95 % interval of metrics over other users, `[low, high]`; none with a single user.

    Args:
        ranks: [R], the rank of each row's target, 1-based.
        rows: the R rows.
        metrics: their names, such as `ndcg@20`.
    """
    found = {}
    for name in metrics:
        values = parse_metric(name).per_row(ranks)
        told = compare_by_user(values, np.zeros_like(values), rows.user)
        if told is not None:
            found[name] = [round(max(0.0, told.low), 5), round(told.high, 5)]
    return found


def blocks(rows: Examples, device: str | torch.device) -> Iterator[tuple[slice, DeviceRows]]:
    """Parts of rows small enough for a score of every item: where each lies, and its tensors."""
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        yield part, DeviceRows.of(rows_where(rows, part), torch.device(device))


def unseen(scores: Tensor, history: Tensor, target: Tensor | None = None) -> Tensor:
    """Scores float [B, N + 1] by id: -inf for padding and for the items of a row's history.

    Of a row that has seen every item all are left: there is nothing else to list.

    Args:
        scores: float [B, N]; column i - 1 is item i.
        history: int64 [B, L], ids 1..N, 0 is padding.
        target: int64 [B], keeps its score even if the history holds it; None: nothing does.
    """
    seen = history if target is None else torch.where(history == target[:, None], 0, history)
    found = functional.pad(scores, (1, 0), value=-torch.inf)
    left = found.scatter(1, seen, -torch.inf)
    if history.shape[1] < scores.shape[1]:
        return left
    nothing = left.isneginf().all(dim=1, keepdim=True)
    return torch.where(nothing, found, left)


def list_length(rows: Examples, n_items: int, size: int, *, keep_target: bool = True) -> int:
    """How many items the lists of rows hold: `size`, or fewer in a small catalogue, which is said.

    No list is longer than what the fullest history leaves, and none is shorter than one item: a
    row that has seen everything gets the best of what it saw (`unseen`).

    Args:
        rows: R rows.
        n_items: N.
        size: K that is asked for.
        keep_target: whether a target stays although its row's history holds it.
    """
    if n_items - rows.history.shape[1] >= size:
        return size
    seen = np.sort(rows.history, axis=1)
    new = seen > 0
    new[:, 1:] &= seen[:, 1:] != seen[:, :-1]
    if keep_target:
        new &= seen != rows.target[:, None]
    most = int(new.sum(axis=1).max(initial=0))
    length = max(1, min(size, n_items - most))
    if length < size:
        _logger.info(
            f"lists hold {length} items in place of {size}: a history shows {most} of the "
            f"{n_items} that there are"
        )
    return length


def preference(data: PreparedData) -> NDArray[np.int64]:
    """The ids 1..N in the order in which ties are broken: often a training target, then by token.

    Items of one title have one embedding in an LLM's space, so their distances tie.
    """
    counts = data.target_counts()
    order = sorted(range(1, data.n_items + 1), key=lambda i: (-counts[i], data.item_tokens[i - 1]))
    return np.array(order, dtype=np.int64)
