"""Public sources: files downloaded from mirrors, or put into a folder by hand, read as streams."""

from __future__ import annotations

import logging
import math
from array import array
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.data.config import DatasetConfig
from bench.data.prepare.interactions import Interactions, canonical
from bench.data.prepare.times import whole_times
from bench.data.sources.archives import lines_of
from bench.data.sources.download import Unavailable, fetch
from bench.data.sources.download_config import Table, Tables
from bench.data.sources.movielens import movie_text
from bench.data.sources.records import records
from bench.data.sources.text import clean_text
from bench.errors import DataError
from bench.progress import task

if TYPE_CHECKING:
    import pandas as pd

_logger = logging.getLogger(__name__)

NO_GENRES = "(no genres listed)"
"""What MovieLens writes where a movie has none."""


def read_public(name: str, config: DatasetConfig, folder: Path) -> Interactions:
    """The interactions of a public source and the texts of its items.

    Args:
        name: name of the dataset, for messages.
        config: names the tables; the first place that gives them all is taken.
        folder: where downloads are kept; files that are there already are used.

    Raises:
        DataError: not to be had (the message names every address, and says what to do instead),
            or damaged.
    """
    failures: list[str] = []
    for tables in config.tables:
        with task(name):
            try:
                paths = [fetch(table, folder) for table in _both(tables)]
            except Unavailable as error:
                failures += error.failures
            else:
                return _read(tables, paths)
    tried = "".join(f"\n    {failure}" for failure in failures)
    by_hand = " and ".join(dict.fromkeys(table.file_name for table in _both(config.tables[0])))
    raise DataError(
        f"dataset '{name}' cannot be downloaded:{tried}\n"
        f"  Put {by_hand} into {folder} by hand, or\n"
        f"  bring your own copy: bench data import {name} PATH, or\n"
        "  use a dataset that needs no download: movielens" + _offer(config.stand_in)
    )


def _offer(stand_in: str | None) -> str:
    if stand_in is None:
        return ""
    return (
        f", or {stand_in}, which is of the same size and shape but synthetic (its results say "
        f"nothing about the real one): bench run --dataset {stand_in}"
    )


def _both(tables: Tables) -> list[Table]:
    return [tables.interactions] if tables.items is None else [tables.interactions, tables.items]


def _read(tables: Tables, paths: list[Path]) -> Interactions:
    columns = Columns()
    where = _where(paths[0], tables.interactions)
    _logger.info(f"reading {where}")
    with lines_of(paths[0], tables.interactions.member) as lines:
        columns.extend(*records(lines, tables.interactions, where), tables.interactions, where)
    report = [f"read {len(columns):,} interactions of {where}"]
    texts = {}
    if tables.items is not None:
        rated = None if tables.unrated else dict.fromkeys(columns.item.index, "")
        where = _where(paths[1], tables.items)
        _logger.info(f"reading {where}")
        with lines_of(paths[1], tables.items.member) as lines:
            texts = item_texts(*records(lines, tables.items, where), rated)
        silent = sum(1 for text in texts.values() if not text)
        report.append(f"{silent:,} of {len(texts):,} items lack a title")
    time, time_scale = columns.whole("time")
    position, _ = columns.whole("position")
    return canonical(
        columns.user.column(),
        columns.item.column(),
        item_texts=texts,
        time=time,
        time_scale=time_scale,
        position=position,
        rating=columns.rating(),
        origin=f"download of {tables.interactions.urls[0]}",
        report=report,
    )


def _where(path: Path, table: Table) -> str:
    return path.name if table.member is None else f"{path.name} ({table.member})"


class Tokens:
    """Texts in as little room as they need: a number for each, and each distinct one once."""

    def __init__(self) -> None:
        self.codes = array("i")
        self.index: dict[str, int] = {}

    def append(self, value: object) -> None:
        """Take the next text.

        Raises:
            ValueError: it is empty.
        """
        if value is None or value == "":
            raise ValueError("an empty id")
        token = value if type(value) is str else str(value)
        self.codes.append(self.index.setdefault(token, len(self.index)))

    def column(self) -> pd.Categorical:
        """The texts, as many as were taken."""
        import pandas as pd

        codes = np.frombuffer(self.codes, dtype=np.int32)
        return pd.Categorical.from_codes(codes, categories=pd.Index(list(self.index), dtype=object))


class Columns:
    """The columns of M interactions, collected one by one: 28 bytes each, and the distinct ids."""

    def __init__(self) -> None:
        self.user, self.item = Tokens(), Tokens()
        self.numbers = {"time": array("d"), "position": array("d"), "rating": array("f")}

    def __len__(self) -> int:
        return len(self.item.codes)

    def extend(
        self, roles: list[str], rows: Iterable[tuple[Any, ...]], table: Table, where: str
    ) -> None:
        """Take the records of a table.

        Raises:
            DataError: a value that is no id, number or time, by the number of its record.
        """
        take = [self._taker(role, table) for role in roles]
        number = 0
        try:
            for number, row in enumerate(rows, start=1):  # noqa: B007 - for the message
                for append, value in zip(take, row, strict=True):
                    append(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{where}: record {number}: cannot be read: {error}") from error

    def whole(self, role: str) -> tuple[NDArray[np.int64] | None, int]:
        """Times or positions as `whole_times` has them; None and 1 where the table has none."""
        if not self.numbers[role]:
            return None, 1
        return whole_times(np.frombuffer(self.numbers[role], dtype=np.float64))

    def rating(self) -> NDArray[np.float32] | None:
        """float32 [M], or None where the table has no ratings."""
        ratings = self.numbers["rating"]
        return np.frombuffer(ratings, dtype=np.float32) if ratings else None

    def _taker(self, role: str, table: Table) -> Callable[[Any], None]:
        if role in ("user", "item"):
            tokens: Tokens = getattr(self, role)
            return tokens.append
        append = self.numbers[role].append
        if role == "time" and table.time_format is not None:
            seconds = _clock(table.time_format)
            return lambda value: append(seconds(value))
        return lambda value: append(_finite(value))


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is no number")
    return number


def _clock(form: str) -> Callable[[str], float]:
    """Seconds since 1970 of a text; one without a zone is UTC. Days repeat, so they are kept."""

    @lru_cache(maxsize=100_000)
    def seconds(text: str) -> float:
        time = datetime.strptime(text, form)
        return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp()

    return seconds


def item_texts(
    roles: list[str], rows: Iterable[tuple[Any, ...]], rated: dict[str, str] | None
) -> dict[str, str]:
    """The text of each item; of an item that stands several times, the first that has one.

    Args:
        roles: what the values of a row are: item, and any of title, year and genres.
        rows: values in that order.
        rated: the items that count, with empty texts; None if all do.
    """
    texts = {} if rated is None else rated
    for row in rows:
        values = dict(zip(roles, row, strict=True))
        token = str(values.pop("item"))
        if (rated is None or token in texts) and not texts.get(token):
            texts[token] = _text(**values)
    return texts


def _text(title: object = None, year: object = None, genres: object = None) -> str:
    """`Net, The`, 1995, `Sci-Fi|Thriller` -> `The Net (1995). Genres: Sci-Fi, Thriller`.

    Scraps of page source, which stand in place of titles here and there, are left out.
    """
    text = clean_text(str(title or ""))
    if "getTime" in text:
        return ""
    if year is None and genres is None:
        return text
    if not isinstance(genres, list):
        listed = str(genres or "").replace(NO_GENRES, "")
        genres = listed.split("|" if "|" in listed else None)
    return movie_text(text, str(year or ""), map(str, genres))
