"""Metrics by kind of row: how often the target is in training, and how long the history is.

A student that knows items by their ids alone cannot rank a target it never trained on; knowledge
of the item texts could. A mean over all rows hides that, so records keep the parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.data.examples import PreparedData
from bench.evaluation.metrics import CUTOFFS, metrics_from_ranks

Mask = NDArray[np.bool_]

TARGET_SEGMENTS = ("cold", "rare", "warm")
WARM_FROM = 5
"""Interactions in training from which on an item is warm; between 1 and 4 it is rare."""

INTERACTION_BOUNDS = (0, 1, 5, 10, 50)
"""Smallest number of interactions in training of each bucket of targets."""

HEAD_SHARE = 0.2
"""Share of the catalogue that is the popular head."""

POPULARITY_GROUPS = 5
"""Groups of items, from the most to the least popular, that share the training targets evenly."""

HISTORY_BOUNDS = (1, 3, 6, 11, 21)
"""Smallest history length of each group."""


def segment_masks(data: PreparedData) -> dict[str, Mask]:
    """Which test rows belong to which segment.

    Returns:
        bool [R_test] by name. `cold` / `rare` / `warm`: the target occurs in training, as a
        target or in a history, never, 1-4 times, 5 times or more; `interactions 0`,
        `interactions 1-4`, ...: the same in five buckets. `head` / `tail`: the target is among the
        20 % of the catalogue with most training targets (ties included), or not.
        `popularity 0-20 %`, ...: the share of the training targets that go to more popular items
        than the target; a target that no training row has is in none. `history 1-2`,
        `history 3-5`, ...: number of items in the history.
    """
    counts = data.target_counts()
    seen, shown = counts[data.test.target], data.interaction_counts()[data.test.target]
    threshold = np.sort(counts[1:])[::-1][max(0, int(np.ceil(HEAD_SHARE * data.n_items)) - 1)]
    head = (seen >= threshold) & (seen > 0)
    masks = {
        "cold": shown == 0,
        "rare": (shown >= 1) & (shown < WARM_FROM),
        "warm": shown >= WARM_FROM,
        **_ranges("interactions", shown, INTERACTION_BOUNDS),
        "head": head,
        "tail": ~head,
    }
    masks |= _popularity_masks(counts, data.test.target)
    return masks | _ranges("history", data.test.length, HISTORY_BOUNDS)


def _ranges(name: str, values: NDArray[Any], bounds: Sequence[int]) -> dict[str, Mask]:
    """Masks of values from one bound to below the next, such as `history 3-5`."""
    ends = [*bounds[1:], None]
    return {
        f"{name} {_range(low, end)}": (values >= low) & (True if end is None else values < end)
        for low, end in zip(bounds, ends, strict=True)
    }


def _range(low: int, end: int | None) -> str:
    if end is None:
        return f"{low}+"
    return str(low) if end == low + 1 else f"{low}-{end - 1}"


INTERACTION_SEGMENTS = tuple(
    f"interactions {_range(low, end)}"
    for low, end in zip(INTERACTION_BOUNDS, [*INTERACTION_BOUNDS[1:], None], strict=True)
)
"""Names of the buckets of targets; they partition the rows."""


def _popularity_masks(counts: NDArray[np.int64], targets: NDArray[np.int32]) -> dict[str, Mask]:
    """Groups that hold even shares of the training targets; items trained alike stay together."""
    levels, items = np.unique(counts, return_counts=True)
    mass = levels * items
    above = mass[::-1].cumsum()[::-1] - mass  # training targets of more popular items
    group = above[np.searchsorted(levels, counts[targets])] * POPULARITY_GROUPS // mass.sum()
    step = 100 // POPULARITY_GROUPS
    return {
        f"popularity {step * index}-{step * (index + 1)} %": (group == index)
        & (counts[targets] > 0)
        for index in range(POPULARITY_GROUPS)
    }


def segment_metrics(
    ranks: ArrayLike, data: PreparedData, cutoffs: Iterable[int] = CUTOFFS
) -> dict[str, dict[str, float]]:
    """Metrics of every segment of the test rows.

    Args:
        ranks: int [R_test], the 1-based rank of each test row's target.
        data: the data that was ranked.
        cutoffs: the values of K.

    Returns:
        `{segment: {"rows": n, "hr@20": ...}}`; a segment without rows has only `rows`.

    Raises:
        ValueError: as many ranks as test rows were expected, or a rank is no rank.
    """
    ranks, cutoffs = np.asarray(ranks), tuple(cutoffs)
    if len(ranks) != len(data.test):
        raise ValueError(f"{len(ranks)} ranks for {len(data.test)} test rows")
    result: dict[str, dict[str, float]] = {}
    for name, mask in segment_masks(data).items():
        part: dict[str, float] = {"rows": int(mask.sum())}
        result[name] = part | (metrics_from_ranks(ranks[mask], cutoffs) if mask.any() else {})
    return result
