"""Protocols: which interactions are targets, of which split, and in which order the rows stand.

What each of them leaks is told in docs/protocol.md.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from bench.data.config import ProtocolConfig
from bench.data.order import stable_order
from bench.data.prepare.interactions import HISTORY, SPLITS, Interactions
from bench.data.prepare.windows import Index
from bench.errors import DataError

Targets = tuple[Index, Index, Index]
"""Indices of the target interactions of train, valid and test, in row order."""


def temporal(data: Interactions, protocol: ProtocolConfig) -> Targets:
    """Global chronological split of the rows, by default 8:1:1.

    A user with n >= 2 interactions has targets at ordinals min(first_target, n-1)..n-1. The rows
    are ordered by (time, user, ordinal) and cut at floor(0.8 R) and floor(0.9 R). Where the source
    has split labels, they are the split, as in `given`.

    Raises:
        DataError: the source has neither time nor split labels.
    """
    if data.split is not None:
        return given(data, protocol)
    targets, _ = _chronological(data, protocol)
    train, valid = _cuts(len(targets), protocol)
    return targets[:train], targets[train:valid], targets[valid:]


def timepoint(data: Interactions, protocol: ProtocolConfig) -> Targets:
    """Split at two points in time, before and after which 80 % and 90 % of the interactions lie.

    The points are the times of the interactions at floor(0.8 M) and floor(0.9 M) of all M in the
    order of time; what happens at a point belongs to the later split. Targets and the order of the
    rows are those of `temporal`; split labels of the source are not used.

    Raises:
        DataError: the source has no time.
    """
    targets, time = _chronological(data, protocol)
    ordered = np.sort(time)
    points = ordered[list(_cuts(len(ordered), protocol))]
    train, valid = np.searchsorted(time[targets], points, side="left")
    return targets[:train], targets[train:valid], targets[valid:]


def leave_one_out(data: Interactions, protocol: ProtocolConfig) -> Targets:
    """Per user: the last interaction is test, the one before is valid, the earlier ones train.

    Train targets stand at ordinals min(first_target, n-3)..n-3, at least 1. A user with two
    interactions gives one train row, a user with one gives none. Rows are ordered by
    (user, ordinal); split labels of the source are not used.
    """
    ordinal, size = data.ordinals
    left = size - 1 - ordinal
    label = np.full(len(data), HISTORY)
    first = np.minimum(protocol.first_target, size - 3)
    label[(ordinal >= 1) & (ordinal >= first) & (left >= 2)] = 0
    label[(size == 2) & (ordinal == 1)] = 0
    label[(size >= 3) & (left == 1)] = 1
    label[(size >= 3) & (left == 0)] = 2
    return _by_label(label)


def given(data: Interactions, protocol: ProtocolConfig) -> Targets:
    """The split labels of the source; rows are ordered by (user, ordinal).

    A labelled interaction without an earlier one of its user is context only.

    Raises:
        DataError: the source has no split labels.
    """
    if data.split is None:
        raise DataError(f"{data.origin}: has no split labels, which protocol 'given' consists of")
    ordinal, _ = data.ordinals
    return _by_label(np.where(ordinal > 0, data.split, HISTORY))


PROTOCOLS: dict[str, Callable[[Interactions, ProtocolConfig], Targets]] = {
    "temporal": temporal,
    "timepoint": timepoint,
    "leave-one-out": leave_one_out,
    "given": given,
}


def targets_of(data: Interactions, protocol: ProtocolConfig) -> Targets:
    """The targets of each split, those of the cold-start policy left out.

    Raises:
        DataError: a split would be empty, or the data lack what the protocol needs.
    """
    ordinal, _ = data.ordinals
    train, valid, test = PROTOCOLS[protocol.name](data, protocol)
    targets = train[ordinal[train] > 0], valid[ordinal[valid] > 0], test[ordinal[test] > 0]
    if protocol.cold_targets == "drop":
        targets = _without_cold(data, targets)
    for name, part in zip(SPLITS, targets, strict=True):
        if len(part) == 0:
            raise DataError(
                f"{data.origin}: protocol '{protocol.slug}' leaves no {name} rows "
                f"({len(data):,} interactions of {len(data.user_tokens):,} users)"
                f"{_why_none(name, data, protocol)}"
            )
    return targets


def _why_none(split: str, data: Interactions, protocol: ProtocolConfig) -> str:
    if data.split is None or protocol.name not in ("temporal", "given"):
        return ""
    labelled = int((data.split == SPLITS.index(split)).sum())
    if labelled:
        return f": each of the {labelled:,} labelled '{split}' is the first of its user"
    return (
        f": its split labels are the split, and none is '{split}'. Label some, or choose "
        "a protocol that makes the split itself, such as --protocol leave-one-out"
    )


def _chronological(data: Interactions, protocol: ProtocolConfig) -> tuple[Index, NDArray[np.int64]]:
    """All targets ordered by (time, user, ordinal), and the time of every interaction.

    Users are in the order of their tokens, or, where the order of the file is part of the data, in
    that of their first appearance.
    """
    if data.time is None:
        raise DataError(
            f"{data.origin}: interactions have an order but no time, so users cannot be compared: "
            f"protocol '{protocol.name}' needs a time column"
            f"{' or split labels' if protocol.name == 'temporal' else ''}; 'leave-one-out' does not"
        )
    ordinal, size = data.ordinals
    first = np.minimum(protocol.first_target, size - 1)
    if data.position is None:
        targets = np.flatnonzero(ordinal >= np.maximum(first, 1))
        return targets[stable_order(data.time[targets])], data.time
    # As published: the only interaction of a user counts for the cuts, and has no history to show.
    targets = np.flatnonzero(ordinal >= first)
    appears = np.minimum.reduceat(data.position, np.flatnonzero(ordinal == 0))
    order = np.lexsort([appears[data.user[targets]], data.time[targets]])
    return targets[order], data.time


def _cuts(count: int, protocol: ProtocolConfig) -> tuple[int, int]:
    """Where valid and test begin among `count`, as exact as the shares are written."""
    valid, test = (Fraction(str(s)) for s in (protocol.valid_share, protocol.test_share))
    return int(count * (1 - valid - test)), int(count * (1 - test))


def _by_label(label: NDArray[np.signedinteger]) -> Targets:
    train, valid, test = (np.flatnonzero(label == split) for split in range(3))
    return train, valid, test


def _without_cold(data: Interactions, targets: Targets) -> Targets:
    train, valid, test = targets
    warm = np.zeros(len(data.item_tokens), dtype=bool)
    warm[data.item[train]] = True
    return train, valid[warm[data.item[valid]]], test[warm[data.item[test]]]
