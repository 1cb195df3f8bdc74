"""Public sources: files downloaded from mirrors, or put into a folder by hand, read as streams."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from bench.data.config import DatasetConfig
from bench.data.prepare.interactions import Interactions
from bench.data.sources.columns import Cells
from bench.data.sources.download import Unavailable, fetch
from bench.data.sources.download_config import OPTIONAL, PlaceConfig, TableConfig
from bench.data.sources.log import read_log, token_of
from bench.data.sources.tables import Table, open_table
from bench.data.sources.texts import clean_text, movie_text
from bench.errors import DataError
from bench.progress import task

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
    for place in config.tables:
        with task(name):
            try:
                paths = [fetch(table, folder) for table in _both(place)]
            except Unavailable as error:
                failures += error.failures
            else:
                return _read(place, paths, config)
    tried = "".join(f"\n    {failure}" for failure in failures)
    by_hand = " and ".join(dict.fromkeys(table.file_name for table in _both(config.tables[0])))
    raise DataError(
        f"dataset '{name}' cannot be downloaded:{tried}\n"
        f"  Put {by_hand} into {folder} by hand, or\n"
        f"  bring your own copy: bench data import {name} PATH --replace-shipped, or\n"
        "  use a dataset that needs no download: movielens" + _offer(config.stand_in)
    )


def _offer(stand_in: str | None) -> str:
    if stand_in is None:
        return ""
    return (
        f", or {stand_in}, which is of the same size and shape but synthetic (its results say "
        f"nothing about the real one): bench run --dataset {stand_in}"
    )


def _both(place: PlaceConfig) -> list[TableConfig]:
    return [place.interactions] if place.items is None else [place.interactions, place.items]


def _read(place: PlaceConfig, paths: list[Path], config: DatasetConfig) -> Interactions:
    with _opened(paths[0], place.interactions) as (table, columns):
        events = read_log(
            table,
            columns,
            time_format=place.interactions.time_format,
            file_order=config.file_order,
        )
    if config.unordered:
        events = replace(events, position=None if events.position is None else 0 * events.position)
    texts: dict[str, str] = {}
    report: list[str] = []
    if place.items is not None:
        rated = None if place.unrated else dict.fromkeys(events.item.categories, "")
        with _opened(paths[1], place.items) as (table, columns):
            texts = item_texts(table.chunks(columns, OPTIONAL), rated, place.items.first_id)
        untitled = sum(1 for text in texts.values() if not text)
        report = [*table.faults.report(), f"{untitled:,} of {len(texts):,} items lack a title"]
    if config.titled_only:
        titled = {token for token, text in texts.items() if len(text) > 1}
        events = events.of_items(titled, "left out {count} interactions of items without a title")
    origin = f"download of {place.interactions.urls[0]}"
    if config.file_order:
        report.append("ties of time stand in the order of the file, which a model can learn")
    return events.canonical(texts, origin, report, keep_position=config.file_order)


@contextlib.contextmanager
def _opened(path: Path, config: TableConfig) -> Iterator[tuple[Table, dict[str, str | int]]]:
    """A table, and its columns by role as it spells them."""
    _logger.info(f"reading {path.name}")
    numbered = any(isinstance(column, int) for column in config.columns.values())
    with open_table(
        path,
        config.form,
        member=config.member,
        encoding=config.encoding,
        header=not numbered,
        tolerance=config.tolerance,
    ) as table:
        columns = config.columns or {name: name for name in table.names}
        yield table, {role: _spelt(column, table) for role, column in columns.items()}


def _spelt(column: str | int | list[str], table: Table) -> str | int:
    """The column as the header has it, where there is one."""
    wanted = column if isinstance(column, list) else [column]
    if not table.names:
        return wanted[0]
    for name in wanted:
        if name in table.names:
            return name
    listed = " or ".join(map(str, wanted))
    there = ", ".join(table.names)
    raise DataError(f"{table.faults.where}: no column {listed}. Columns: {there}")


def item_texts(
    chunks: Iterable[Mapping[str, Cells]], rated: dict[str, str] | None, first_id: int = 0
) -> dict[str, str]:
    """The text of each item; of an item that stands several times, the first that has one.

    Args:
        chunks: with a column item, and any of title, year and genres.
        rated: the items that count, with empty texts; None if all do.
        first_id: what is taken off ids, which are whole numbers then.

    Raises:
        DataError: `first_id` is to be taken off an id that is no whole number.
    """
    texts = {} if rated is None else rated
    for chunk in chunks:
        roles = [role for role in chunk if role != "item"]
        parts = zip(*(chunk[role].values for role in roles), strict=True)
        for item, values in zip(chunk["item"].values, parts, strict=True):
            token = token_of(item)
            if first_id:
                token = _counted_from_0(token, first_id)
            if (rated is None or token in texts) and not texts.get(token):
                texts[token] = _text(**dict(zip(roles, values, strict=True)))
    return texts


def _counted_from_0(token: str, first: int) -> str:
    if not token.isdecimal() or len(token) > 18:
        raise DataError(f"item '{token}' is no whole number, from which {first} could be taken")
    return str(int(token) - first)


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
