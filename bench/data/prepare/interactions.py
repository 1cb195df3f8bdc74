"""Interactions in their one canonical order, whatever table they came from.

Users and items are numbered in the order of their tokens (by code point). Interactions are ordered
by user, then time, then stated position: equal data in another row order is equal. What that leaves
open is in an order drawn for each user. An order of the items themselves would be the same for all
users, and a model learns it: the next item would be one that comes later in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.files import read_json, write_json
from bench.data.fingerprints import digest
from bench.data.order import divisor, stable_order
from bench.data.prepare.windows import Index, ordinals
from bench.errors import DataError

SPLITS = ("train", "valid", "test")
HISTORY = -1
"""Split label of an interaction that is context only; 0, 1, 2 are the indices of `SPLITS`."""

SOURCE_FILE = "source.json"
ORDER = 2
"""Version of the canonical order, kept with the interactions that are in it."""

SORTED, SORTED_AFTER = 0.98, 50
"""Share of steps to a greater item id that is no order of time, among so many or more."""

Rows = NDArray[np.int64] | slice

_ARRAYS = ("user", "item", "time", "split", "rating", "position")
_OPTIONAL = ("time", "split", "rating", "position")


@dataclass(frozen=True)
class Interactions:
    """M ordered interactions and the catalogue of N items.

    Attributes:
        user: int32 [M], 0..U-1, not decreasing.
        item: int32 [M], 0..N-1 (items of rows are these plus 1).
        time: int64 [M], not decreasing within a user, comparable between users; None where the
            source has an order but no time.
        split: int8 [M], `HISTORY` or an index of `SPLITS`; None where the source has no labels.
        rating: float32 [M] or None.
        user_tokens: the U user tokens, sorted.
        item_tokens: the N item tokens, sorted.
        item_texts: the N item texts.
        position: int64 [M], the place in the file, where the order of the file is part of the data;
            else None.
        time_scale: how many of `time` are one unit of the source's own times.
        origin: where it came from, one line.
        report: what was read and what was dropped, one line each.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    time: NDArray[np.int64] | None
    split: NDArray[np.int8] | None
    rating: NDArray[np.float32] | None
    user_tokens: list[str]
    item_tokens: list[str]
    item_texts: list[str]
    position: NDArray[np.int64] | None = None
    time_scale: int = 1
    origin: str = ""
    report: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.user)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything but the scale of times, origin and report."""
        arrays = [getattr(self, name) for name in _ARRAYS]
        present = [name for name, array in zip(_ARRAYS, arrays, strict=True) if array is not None]
        return digest(
            present,
            self.user_tokens,
            self.item_tokens,
            self.item_texts,
            *(
                array.view(np.int32) if array.dtype == np.float32 else array
                for array in arrays
                if array is not None
            ),
        )

    @cached_property
    def ordinals(self) -> tuple[Index, Index]:
        """Of each interaction its place among its user's, from 0, and their number: [M] each."""
        return ordinals(self.user)

    def keep(self, mask: NDArray[np.bool_]) -> Interactions:
        """The interactions under `mask` [M], users and items that lost all of theirs left out."""
        users, user = np.unique(self.user[mask], return_inverse=True)
        items, item = np.unique(self.item[mask], return_inverse=True)
        return replace(
            self,
            user=user.astype(np.int32),
            item=item.astype(np.int32),
            user_tokens=[self.user_tokens[i] for i in users],
            item_tokens=[self.item_tokens[i] for i in items],
            item_texts=[self.item_texts[i] for i in items],
            **{n: a[mask] for n in _OPTIONAL if (a := getattr(self, n)) is not None},
        )


def canonical(
    user: Any,
    item: Any,
    *,
    item_texts: dict[str, str],
    time: NDArray[np.int64] | None = None,
    time_scale: int = 1,
    position: NDArray[np.int64] | None = None,
    split: NDArray[np.int8] | None = None,
    rating: NDArray[np.float32] | None = None,
    keep_position: bool = False,
    origin: str = "",
    report: list[str] | None = None,
) -> Interactions:
    """Bring interactions of any row order into the canonical one.

    Args:
        user: M user tokens: any array of strings; a pandas Categorical of strings takes the least
            memory.
        item: M item tokens.
        item_texts: text of each item of the item table; the catalogue is its keys and every item
            of the interactions.
        time: int64 [M]; without it, `position` orders each user's interactions.
        time_scale: as `Interactions.time_scale`.
        position: int64 [M]; breaks ties of `time`. Ties that are left are broken by chance, the
            same chance for the same users and items.
        split: int8 [M], `HISTORY` or an index of `SPLITS`.
        rating: float32 [M].
        keep_position: whether the positions are part of the data, and not of their order alone.
        origin: where the data came from.
        report: lines about what was read so far.

    Returns:
        The interactions, exact repetitions (same user, item, time and position) dropped.

    Raises:
        DataError: no interactions, no order, repetitions that contradict each other, or split
            labels that put a later interaction of a user into an earlier split.
    """
    if len(user) == 0:
        raise DataError(f"{origin}: no interactions")
    if time is None and position is None:
        raise DataError(f"{origin}: neither time nor position orders the interactions")
    report = list(report or [])
    user_code, user_tokens = _sorted_codes(user)
    item_code, seen = _sorted_codes(item)
    item_tokens = sorted({*seen, *item_texts})
    place = {token: index for index, token in enumerate(item_tokens)}
    item_code = np.array([place[token] for token in seen], dtype=np.int32)[item_code]

    second, *third = [key for key in (time, position) if key is not None]
    extra = [key for key in (rating, split) if key is not None]

    def rest(rows: Rows) -> list[NDArray[Any]]:
        drawn = _drawn_order(user_code[rows], item_code[rows], len(item_tokens))
        return [drawn, *(key[rows] for key in third)]

    order, repeated = _sorted_by(user_code, second, rest, extra)
    if split is not None:
        ordered = split[order]
        if (repeated[1:] & (ordered[1:] != ordered[:-1])).any():
            raise DataError(f"{origin}: one interaction stands twice, with different split labels")
    if repeated.any():
        report.append(f"dropped {repeated.sum():,} interactions that repeat another one exactly")
        order = order[~repeated]

    unused = len(item_tokens) - len(seen)
    if unused:
        report.append(f"{unused:,} items of the item table have no interactions (they are ranked)")
    result = Interactions(
        user=user_code[order].astype(np.int32),
        item=item_code[order],
        time=None if time is None else time[order].astype(np.int64),
        split=None if split is None else split[order].astype(np.int8),
        rating=None if rating is None else rating[order].astype(np.float32),
        position=position[order] if keep_position and position is not None else None,
        user_tokens=user_tokens,
        item_tokens=item_tokens,
        item_texts=[item_texts.get(token, "") for token in item_tokens],
        time_scale=time_scale,
        origin=origin,
        report=report,
    )
    _reject_backward_labels(result)
    result.report.extend(_doubted_order(result))
    return result


def _sorted_by(
    first: NDArray[np.integer],
    second: NDArray[np.integer],
    rest: Callable[[Rows], list[NDArray[Any]]],
    extra: Sequence[NDArray[Any]],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """`np.lexsort([*extra, *rest, second, first])`, and which rows there equal the one before.

    The first two keys in one number tell most rows apart; the others are asked about those alone
    that are equal in both.

    Args:
        first: [M], 0 or more.
        second: [M].
        rest: further keys of some rows, the last one the first to sort by.
        extra: keys [M] that order what is equal in all others, and count as equal.
    """
    low, high = int(second.min()), int(second.max())
    if (int(first.max()) + 1) * (high - low + 1) >= 2**63:
        keys = [*rest(slice(None)), second, first]
        order = np.lexsort([*extra, *keys])
        return order, _equal([key[order] for key in keys])
    since = (second - second.dtype.type(low)).astype(np.int64)
    unit = divisor(since)
    both = first.astype(np.int64)
    both *= (high - low) // unit + 1
    both += since if unit == 1 else since // unit
    order = stable_order(both)
    same = _equal([both[order]])
    tied = same.copy()
    tied[:-1] |= same[1:]
    place = np.flatnonzero(tied)
    rows = order[place]
    keys = [*rest(rows), both[rows]]
    among = np.lexsort([*(key[rows] for key in extra), *keys])
    order[place] = rows[among]
    same[place] = _equal([key[among] for key in keys])
    return order, same


def _equal(keys: Sequence[NDArray[Any]]) -> NDArray[np.bool_]:
    """Which rows [M] of ordered keys equal the one before in all of them."""
    same = np.ones(len(keys[0]), dtype=bool)
    same[:1] = False
    for key in keys:
        same[1:] &= key[1:] == key[:-1]
    return same


def _doubted_order(data: Interactions) -> list[str]:
    """A warning where the items of nearly all users stand in the order of their ids."""
    ids = np.arange(len(data.item_tokens))
    if all(token.isdecimal() for token in data.item_tokens):
        digits = [token.lstrip("0") for token in data.item_tokens]  # of any length
        ids[sorted(ids, key=lambda item: (len(digits[item]), digits[item]))] = ids.copy()
    step = np.diff(ids[data.item])[data.user[1:] == data.user[:-1]]
    moves = step[step != 0]
    ascending = float((moves > 0).mean()) if len(moves) else 0.0
    if len(moves) < SORTED_AFTER or ascending < SORTED:
        return []
    return [
        f"WARNING: {ascending:.1%} of users' steps go to an item with a greater id: is this the "
        "order of time? A model learns such an order, and the last item is always the greatest"
    ]


def _drawn_order(
    user: NDArray[np.integer], item: NDArray[np.integer], n_items: int
) -> NDArray[np.uint64]:
    """A number for each pair of user and item [M], different pairs different numbers.

    The finaliser of SplitMix64 (Steele et al., OOPSLA 2014), which permutes all 64-bit numbers:
    the order of a user's items by it says nothing of another user's.
    """
    mixed = user.astype(np.uint64) * np.uint64(n_items) + item.astype(np.uint64)
    mixed += np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _sorted_codes(tokens: Any) -> tuple[NDArray[Any], list[str]]:
    """The distinct tokens in the order of code points, and the number of each token among them."""
    import pandas as pd

    if not isinstance(tokens, pd.Categorical):
        codes, distinct = pd.factorize(pd.Series(tokens, dtype="str"), sort=True)
        return codes, [str(token) for token in distinct]
    names = tokens.categories.tolist()
    order = sorted(range(len(names)), key=names.__getitem__)
    place = np.empty(len(names), dtype=np.int32)
    place[order] = np.arange(len(names), dtype=np.int32)
    return place[tokens.codes], [names[index] for index in order]


def _reject_backward_labels(data: Interactions) -> None:
    """A train target after a test target would show the test target in its history."""
    if data.split is None:
        return
    target = np.flatnonzero(data.split != HISTORY)
    user, split = data.user[target], data.split[target]
    backward = (user[1:] == user[:-1]) & (split[1:] < split[:-1])
    if backward.any():
        first = data.user_tokens[user[1:][backward][0]]
        raise DataError(
            f"{data.origin}: split labels go backwards in time for "
            f"{len(np.unique(user[1:][backward])):,} users (user '{first}' for one): within a user "
            "train must come before valid, valid before test"
        )


def save(data: Interactions, folder: Path) -> None:
    """Write interactions into an existing folder."""
    for name in _ARRAYS:
        array = getattr(data, name)
        if array is not None:
            np.save(folder / f"{name}.npy", array)
    write_json(folder / "users.json", data.user_tokens)
    write_json(folder / "items.json", {"tokens": data.item_tokens, "texts": data.item_texts})
    about = {
        "origin": data.origin,
        "report": data.report,
        "fingerprint": data.fingerprint,
        "order": ORDER,
        "time_scale": data.time_scale,
        "file_order": data.position is not None,
    }
    write_json(folder / SOURCE_FILE, about)


def load(folder: Path) -> Interactions:
    """Read what `save` wrote, arrays memory-mapped.

    Raises:
        DataError: a file is missing or damaged.
    """
    about = read_json(folder / SOURCE_FILE)
    items = read_json(folder / "items.json")
    arrays = {name: load_array(folder / f"{name}.npy") for name in ("user", "item")}
    for name in _OPTIONAL:
        path = folder / f"{name}.npy"
        arrays[name] = load_array(path) if path.exists() else None
    return Interactions(
        **arrays,
        user_tokens=read_json(folder / "users.json"),
        item_tokens=items["tokens"],
        item_texts=items["texts"],
        time_scale=time_scale(about),
        origin=about["origin"],
        report=about["report"],
    )


def time_scale(about: Mapping[str, Any]) -> int:
    """`Interactions.time_scale` by what `SOURCE_FILE` says; earlier versions knew none but 1."""
    return int(about.get("time_scale", 1))


def load_array(path: Path) -> Any:
    """Memory-map one array.

    Raises:
        DataError: missing or damaged.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read: {error}; delete its folder") from error
