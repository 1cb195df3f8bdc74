"""Protocols: which interactions are targets, of which split, and in which order the rows stand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.data.config import ProtocolConfig
from bench.data.interactions import HISTORY, Interactions
from bench.data.windows import Index, ordinals
from bench.errors import DataError

Targets = tuple[Index, Index, Index]
"""Indices of the target interactions of train, valid and test, in row order."""


def temporal(data: Interactions, first_target: int) -> Targets:
    """Global chronological split of the rows, 8:1:1.

    A user with n >= 2 interactions has targets at ordinals min(first_target, n-1)..n-1. The rows
    are ordered by (time, user, ordinal) and cut at floor(0.8 R) and floor(0.9 R). Where the source
    has split labels, they are the split, and the rows are ordered by (user, ordinal).

    Raises:
        DataError: the source has neither time nor split labels.
    """
    ordinal, size = ordinals(data.user)
    if data.split is not None:
        usable = ordinal > 0
        return _by_label(np.where(usable, data.split, HISTORY))
    if data.time is None:
        raise DataError(
            f"{data.origin}: interactions have an order but no time, so users cannot be compared: "
            "protocol 'temporal' needs a time column or split labels; 'leave-one-out' does not"
        )
    first = np.maximum(np.minimum(first_target, size - 1), 1)
    targets = np.flatnonzero(ordinal >= first)
    targets = targets[np.argsort(data.time[targets], kind="stable")]
    train, valid = len(targets) * 8 // 10, len(targets) * 9 // 10
    return targets[:train], targets[train:valid], targets[valid:]


def leave_one_out(data: Interactions, first_target: int) -> Targets:
    """Per user: the last interaction is test, the one before is valid, the earlier ones train.

    Train targets stand at ordinals min(first_target, n-3)..n-3, at least 1. A user with two
    interactions gives one train row, a user with one gives none. Rows are ordered by
    (user, ordinal); split labels of the source are not used.
    """
    ordinal, size = ordinals(data.user)
    left = size - 1 - ordinal
    label = np.full(len(data), HISTORY)
    label[(ordinal >= 1) & (ordinal >= np.minimum(first_target, size - 3)) & (left >= 2)] = 0
    label[(size == 2) & (ordinal == 1)] = 0
    label[(size >= 3) & (left == 1)] = 1
    label[(size >= 3) & (left == 0)] = 2
    return _by_label(label)


def _by_label(label: Index) -> Targets:
    train, valid, test = (np.flatnonzero(label == split) for split in range(3))
    return train, valid, test


PROTOCOLS: dict[str, Callable[[Interactions, int], Targets]] = {
    "temporal": temporal,
    "leave-one-out": leave_one_out,
}


def targets_of(data: Interactions, protocol: ProtocolConfig) -> Targets:
    """The targets of each split.

    Raises:
        DataError: a split would be empty, or the data lacks what the protocol needs.
    """
    targets = PROTOCOLS[protocol.name](data, protocol.first_target)
    for name, part in zip(("train", "valid", "test"), targets, strict=True):
        if len(part) == 0:
            raise DataError(
                f"{data.origin}: protocol '{protocol.slug}' leaves no {name} rows "
                f"({len(data):,} interactions of {len(data.user_tokens):,} users)"
            )
    return targets
