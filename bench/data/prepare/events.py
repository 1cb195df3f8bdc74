"""What a file says of interactions, before they are brought into their canonical order."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.prepare.interactions import HISTORY, Interactions, canonical


@dataclass(frozen=True)
class Events:
    """M interactions in any order.

    Attributes:
        user: M user tokens (any array of strings).
        item: M item tokens.
        time: int64 [M] or None.
        time_scale: as `Interactions.time_scale`.
        position: int64 [M], orders what `time` leaves open; None where time alone orders.
        split: int8 [M], as `Interactions.split`, or None.
        rating: float32 [M] or None.
        item_texts: text of every item that the file lists beside the interactions.
        report: what was read and what was dropped, one line each.
    """

    user: Any
    item: Any
    time: NDArray[np.int64] | None = None
    time_scale: int = 1
    position: NDArray[np.int64] | None = None
    split: NDArray[np.int8] | None = None
    rating: NDArray[np.float32] | None = None
    item_texts: dict[str, str] = field(default_factory=dict)
    report: list[str] = field(default_factory=list)

    def canonical(
        self,
        item_texts: dict[str, str],
        origin: str,
        report: list[str],
        keep_position: bool = False,
    ) -> Interactions:
        """The interactions in canonical order.

        Args:
            item_texts: texts of a table of items, stronger than those beside the interactions.
            origin: where the data came from.
            report: lines that come after those of the events.
            keep_position: as `interactions.canonical` has it.

        Raises:
            DataError: as `interactions.canonical`.
        """
        return canonical(
            self.user,
            self.item,
            item_texts={**self.item_texts, **item_texts},
            time=self.time,
            time_scale=self.time_scale,
            position=self.position,
            split=self.split,
            rating=self.rating,
            keep_position=keep_position,
            origin=origin,
            report=[*self.report, *report],
        )

    def of_items(self, wanted: Collection[str], report: str) -> Events:
        """The interactions with some items alone; `{count}` in the report are the others."""
        known = np.array([item in wanted for item in self.item.categories])
        mask = known[self.item.codes]

        def kept(array: Any) -> Any:
            return None if array is None else array[mask]

        return replace(
            self,
            user=self.user[mask].remove_unused_categories(),
            item=self.item[mask].remove_unused_categories(),
            time=kept(self.time),
            position=kept(self.position),
            split=kept(self.split),
            rating=kept(self.rating),
            report=[*self.report, report.format(count=f"{(~mask).sum():,}")],
        )


def from_sequences(
    users: Sequence[str],
    sequences: Sequence[Sequence[str]],
    *,
    last_split: NDArray[np.int8] | None = None,
    item_texts: dict[str, str] | None = None,
    report: list[str] | None = None,
) -> Events:
    """Events of users whose items are listed, oldest first.

    Args:
        users: U user tokens.
        sequences: the item tokens of each of them, none empty.
        last_split: int8 [U], the split of which the last item of each user is a target; the
            earlier ones are context then. None where there are no labels.
        item_texts: as `Events.item_texts`.
        report: as `Events.report`.
    """
    sizes = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    ends = np.cumsum(sizes)
    split = None
    if last_split is not None:
        split = np.full(int(sizes.sum()), HISTORY, dtype=np.int8)
        split[ends - 1] = last_split
    return Events(
        user=np.repeat(np.array(users, dtype=object), sizes),
        item=np.array([item for sequence in sequences for item in sequence], dtype=object),
        position=np.arange(int(sizes.sum())) - np.repeat(ends - sizes, sizes),
        split=split,
        item_texts=item_texts or {},
        report=report or [],
    )
