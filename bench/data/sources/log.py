"""A log of interactions, taken from its table chunk by chunk, in as little memory as it needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.data.prepare.events import Events
from bench.data.prepare.interactions import HISTORY, SPLITS
from bench.data.sources.columns import Cells, Column, Mask, Numbers
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
_POWER = re.compile(r"-?\d(\.\d+)?[eE]\+\d{2}")

MISSING = ("nan", "NaN", "NA", "N/A", "<NA>", "None", "null", "NULL")
"""What programs write where there is no id."""

COLLECTED = 1 << 29
"""Bytes of ids of which equal ones are found together."""

WIDTH = 16
"""Bytes of an id among others, with a NUL behind it; of one in four times as many is room as well,
and longer ones are looked up one by one."""


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
            if unnamed := int((~named).sum()):
                dropped += unnamed
                chunk = {role: cells.where(named) for role, cells in chunk.items()}
        good = np.ones(len(chunk["user"].rows), dtype=bool)
        for role, column in read.items():
            good &= column.read(chunk[role], faults)
        faults.check(0)
        for column in read.values():
            column.keep(good)
    if not user.count:
        what = "a header but no rows" if table.names and not faults.rows else "no interactions"
        raise DataError(f"{faults.where}: has {what}")
    users, items = user.categorical(), item.categorical()  # which tells what is respelt
    times, scale = time.scaled(faults.where) if "time" in read else (None, 1)
    report = [f"read {faults.rows:,} rows of {faults.name}", *faults.report()]
    report += [f"ids of {role}s are read as {r}" for role in IDS if (r := ids[role].respelt)]
    report += [f"dropped {dropped:,} rows without user or item"] * bool(dropped)
    report += [doubt for role in IDS for doubt in _missing(role, ids[role])]
    places = np.arange(user.count) if file_order else None
    return Events(
        user=users,
        item=items,
        time=times,
        time_scale=scale,
        position=position.scaled(faults.where)[0] if "position" in read else places,
        rating=rating.arrays()[0] if "rating" in read else None,
        split=split.arrays()[0] if "split" in read else None,
        report=report,
    )


def _missing(role: str, ids: Tokens) -> list[str]:
    """A warning where an id is what programs write when there is none."""
    found = [f"'{text}'" for text in MISSING if text in ids.codes]
    return [
        f"WARNING: {role} {text} is read as an id: is it how a program wrote that there is none?"
        for text in found
    ]


def token_of(value: object) -> str:
    """An id as text: without outer blanks, and a whole number as its digits.

    Floats have `.0` behind them, and R and Python write `1e+05` for 100000. Only with the sign is
    that a number: `1e05` may be a hash.
    """
    text = str(value).strip()
    if text.endswith("0") and "." in text and (whole := _WHOLE.fullmatch(text)):
        return whole[1]
    if "+" in text and _POWER.fullmatch(text) and (number := Decimal(text)) == int(number):
        return str(int(number))
    return text


class Tokens(Column):
    """Ids as numbers: each distinct one is kept once.

    A dictionary of millions of ids is larger than any cache, and every look-up in it waits for
    memory. So ids are collected as bytes, equal ones are found in bulk, and each distinct one of a
    collection is looked up once.

    Attributes:
        codes: the number of each id.
        respelt: `'6' where they are written '6.0'`, of the first whose spelling changed; or empty.
    """

    def __init__(self) -> None:
        super().__init__()
        self.respelt = ""
        self.codes: dict[str, int] = {}
        self._texts: list[NDArray[np.bytes_]] = []
        self._bytes = 0

    def read(self, cells: Cells, faults: Faults | None) -> Mask:
        """Which values are no empty text; where `faults` is None these are no faults."""
        listed = list(cells.values)
        try:
            joined = "".join(listed)
        except TypeError:  # lists and objects, which JSON may hold, are no ids
            listed = [str(v) if isinstance(v, str | int | float) else "" for v in listed]
            joined = "".join(listed)
        array = None if "\0" in joined else _bytes_of(listed, joined)
        if array is None:
            array = np.empty(len(listed), dtype=object)
            array[:] = listed
            doubtful = np.ones(len(listed), dtype=bool)
        else:  # what begins with a letter or the like is no blanks alone
            first = array.view(np.uint8)[:: array.itemsize]
            doubtful = (first - np.uint8(ord("!"))) > np.uint8(ord("~") - ord("!"))
        good: Mask = ~doubtful
        for at in np.flatnonzero(doubtful).tolist():
            good[at] = bool(token_of(listed[at]))
        self.pending = (array,)
        if faults is not None:
            self.note(cells, ~good, "an id", faults)
        return good

    def keep(self, good: Mask) -> None:
        """Take the ids under a mask [m] of the chunk that was read."""
        array = self.pending[0] if good.all() else self.pending[0][good]
        self.count += len(array)
        if array.dtype == object:
            self._look_up()
            codes = [self._code(text) for text in array]
            self._kept.append((np.array(codes, dtype=np.int32),))
            return
        self._texts.append(array)
        self._bytes += array.nbytes
        if self._bytes > COLLECTED:
            self._look_up()

    def _look_up(self) -> None:
        """Codes of the ids that were collected."""
        if self._texts:
            distinct, place = _distinct(self._texts)
            self._texts, self._bytes = [], 0
            texts = [text.decode("utf-8", "surrogatepass") for text in distinct.tolist()]
            together = "".join(texts)
            if "." in together or "+" in together or together.split() != [together]:
                codes = [self._code(text) for text in texts]
            else:  # each is spelt as `token_of` spells it
                known = self.codes
                codes = [known.setdefault(text, len(known)) for text in texts]
            self._kept.append((np.array(codes, dtype=np.int32)[place],))

    def _code(self, written: str) -> int:
        text = token_of(written)
        if not self.respelt and text != written.strip():
            self.respelt = f"'{text}' where they are written '{written}'"
        return self.codes.setdefault(text, len(self.codes)) if text else -1

    def categorical(self) -> pd.Categorical:
        """All texts that were kept."""
        import pandas as pd

        self._look_up()
        (codes,) = self.arrays()
        texts = pd.Index(list(self.codes), dtype=object)
        return pd.Categorical.from_codes(codes, categories=texts)


def _bytes_of(texts: list[str], joined: str) -> NDArray[np.bytes_] | None:
    """Texts without NUL in UTF-8, [m] of equal width; None where one is long."""
    ascii = joined.isascii()
    if ascii and len(lengths := {*map(len, texts)}) == 1 and 0 < (length := lengths.pop()) < WIDTH:
        table = np.zeros((len(texts), WIDTH), dtype=np.uint8)
        table[:, :length] = np.frombuffer(joined.encode(), dtype=np.uint8).reshape(-1, length)
        return table.view(f"S{WIDTH}")[:, 0]
    coded = texts if ascii else [text.encode("utf-8", "surrogatepass") for text in texts]
    for width in (WIDTH, 4 * WIDTH):
        array = np.array(coded, dtype=f"S{width}")
        if not array.view(np.uint8).reshape(len(array), width)[:, -1].any():
            return array  # a longer one would be cut off here, at a byte that is not NUL
    return None


def _distinct(
    parts: list[NDArray[np.bytes_]],
) -> tuple[NDArray[np.bytes_], NDArray[np.integer]]:
    """The distinct ones of texts [M] in parts, and the place of each text among them [M]."""
    import pandas as pd

    texts = np.concatenate(parts)
    words = texts.view(np.uint64).reshape(len(texts), texts.itemsize // 8)
    mixed = np.zeros(len(texts), dtype=np.uint64)
    for place in range(words.shape[1]):
        mixed ^= mixed >> np.uint64(29)
        mixed *= np.uint64(0xBF58476D1CE4E5B9)
        mixed += words[:, place]
    codes, found = pd.factorize(mixed)
    first = np.empty(len(found), dtype=np.int64)
    first[codes[::-1]] = np.arange(len(texts))[::-1]
    for place in range(1, words.shape[1]):  # of these and the number the first word follows
        if (words[first, place][codes] != words[:, place]).any():  # two texts became one number
            return np.unique(texts, return_inverse=True)
    return texts[first], codes


class Labels(Column):
    """Labels of splits, as `Interactions.split` has them."""

    def read(self, cells: Cells, faults: Faults | None) -> Mask:
        """Raises: DataError: names the labels that are unknown."""
        values = cells.series()
        labels = values.str.strip().str.lower().map(LABELS)
        unknown = labels.isna()
        if unknown.any() and faults is not None:
            names = ", ".join(repr(label) for label in sorted(set(values[unknown]))[:5])
            raise DataError(
                f"{faults.where}: column '{cells.name}' has unknown split labels: {names} "
                f"({unknown.sum():,} rows). Allowed: {', '.join((*SPLITS, 'history'))}"
            )
        self.pending = (labels.to_numpy(dtype=np.int8),)
        return ~unknown.to_numpy()
