"""A log of interactions, taken from its table chunk by chunk, in as little memory as it needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.data.prepare.events import Events
from bench.data.prepare.interactions import HISTORY, SPLITS
from bench.data.sources.columns import Column, Mask, Numbers
from bench.data.sources.faults import Faults
from bench.data.sources.tables import Table
from bench.data.sources.times import Times
from bench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

LABELS = {
    **dict.fromkeys(("train", "training"), 0),
    **dict.fromkeys(("valid", "validation", "val", "dev"), 1),
    **dict.fromkeys(("test", "testing"), 2),
    **dict.fromkeys(("history", "context", ""), HISTORY),
}
"""Split labels, case aside; `history` and an empty label mark context that is never a target."""


IDS = ("user", "item")
_WHOLE = re.compile(r"(-?\d+)\.0+")


def read_log(
    table: Table,
    columns: Mapping[str, str | int],
    *,
    anonymous: bool = False,
    time_format: str | None = None,
    file_order: bool = False,
) -> Events:
    """All interactions of a table.

    Args:
        table: what is read; its `faults` decide what a row that cannot be understood means.
        columns: those of the roles user and item, and of any of time, position, rating and split.
        anonymous: whether rows without user or item are left out and counted, however many. Else
            they are faults.
        time_format: strptime's; None: times are numbers or ISO 8601.
        file_order: whether the order of the rows is the position.

    Raises:
        DataError: a value that is no number, time or label, by its row; no interactions.
    """
    faults = table.faults
    ids = {role: Tokens() for role in IDS}
    user, item = ids.values()
    time, position, rating, split = Times(time_format), Times(), Numbers(np.float32), Labels()
    every: dict[str, Column] = {**ids, "time": time, "position": position}
    every |= {"rating": rating, "split": split}
    read = {role: column for role, column in every.items() if role in columns}
    dropped = 0
    for chunk in table.chunks(columns):
        if anonymous:
            named = user.read(chunk["user"], None) & item.read(chunk["item"], None)
            dropped += int((~named).sum())
            chunk = chunk[named]
        good = np.ones(len(chunk), dtype=bool)
        for role, column in read.items():
            good &= column.read(chunk[role], faults)
        faults.check(0)
        for column in read.values():
            column.keep(good)
    if not user.count:
        what = "a header but no rows" if table.names and not faults.rows else "no interactions"
        raise DataError(f"{faults.where}: has {what}")
    times, scale = time.scaled(faults.where) if "time" in read else (None, 1)
    report = [f"read {faults.rows:,} rows of {faults.name}", *faults.report()]
    report += [f"ids of {role}s are read as {r}" for role in IDS if (r := ids[role].respelt)]
    report += [f"dropped {dropped:,} rows without user or item"] * bool(dropped)
    places = np.arange(user.count) if file_order else None
    return Events(
        user=user.categorical(),
        item=item.categorical(),
        time=times,
        time_scale=scale,
        position=position.scaled(faults.where)[0] if "position" in read else places,
        rating=rating.arrays()[0] if "rating" in read else None,
        split=split.arrays()[0] if "split" in read else None,
        report=report,
    )


def token_of(value: object) -> str:
    """An id as text: without outer blanks, and a whole number without the `.0` of a float."""
    text = str(value).strip()
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


class Tokens(Column):
    """Ids as numbers: each distinct one is kept once.

    Attributes:
        respelt: `'6' where they are written '6.0'`, of the first whose spelling changed; or empty.
    """

    def __init__(self) -> None:
        super().__init__()
        self.respelt = ""
        self._distinct: dict[str, int] = {}
        self._codes: dict[Any, int] = {None: -1, "": -1}

    def read(self, values: pd.Series, faults: Faults | None) -> Mask:
        """Which values are no empty text; where `faults` is None these are no faults."""
        listed = values.tolist()
        try:
            codes = list(map(self._codes.get, listed))
        except TypeError:  # lists and objects, which JSON may hold, are no ids
            listed = [value if isinstance(value, str | int | float) else None for value in listed]
            codes = list(map(self._codes.get, listed))
        if None in codes:
            codes = [
                self._code(value) if code is None else code
                for code, value in zip(codes, listed, strict=True)
            ]
        array = np.array(codes, dtype=np.int32)
        self.pending = (array,)
        if faults is not None:
            self.note(values, array < 0, "an id", faults)
        return array >= 0

    def _code(self, value: Any) -> int:
        code = self._codes.get(value)
        if code is None:
            text = token_of(value)
            if not self.respelt and text != str(value).strip():
                self.respelt = f"'{text}' where they are written '{value}'"
            code = self._distinct.setdefault(text, len(self._distinct)) if text else -1
            self._codes[value] = code
        return code

    def categorical(self) -> pd.Categorical:
        """All texts that were kept."""
        import pandas as pd

        (codes,) = self.arrays()
        used = np.zeros(len(self._distinct), dtype=bool)
        used[codes] = True  # the others stood in rows that were left out
        texts = np.array(list(self._distinct), dtype=object)[used]
        codes = (np.cumsum(used, dtype=np.int32) - 1)[codes]
        return pd.Categorical.from_codes(codes, categories=pd.Index(texts, dtype=object))


class Labels(Column):
    """Labels of splits, as `Interactions.split` has them."""

    def read(self, values: pd.Series, faults: Faults | None) -> Mask:
        """Raises: DataError: names the labels that are unknown."""
        labels = values.str.strip().str.lower().map(LABELS)
        unknown = labels.isna()
        if unknown.any() and faults is not None:
            names = ", ".join(repr(label) for label in sorted(set(values[unknown]))[:5])
            raise DataError(
                f"{faults.where}: column '{values.name}' has unknown split labels: {names} "
                f"({unknown.sum():,} rows). Allowed: {', '.join((*SPLITS, 'history'))}"
            )
        self.pending = (labels.to_numpy(dtype=np.int8),)
        return ~unknown.to_numpy()
