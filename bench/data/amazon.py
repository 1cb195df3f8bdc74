"""Amazon reviews of 2018: JSON lines, downloaded from mirrors or put into a folder by hand."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.config import DatasetConfig, Download
from bench.data.files import scratch_folder
from bench.data.importing import clean_text
from bench.data.interactions import Interactions, canonical
from bench.errors import DataError

Progress = Callable[[str], None]

TIMEOUT = 30
"""Seconds that a server may stay silent."""

_BLOCK = 1 << 20


def read_amazon(name: str, config: DatasetConfig, folder: Path, progress: Progress) -> Interactions:
    """Reviews and item titles of one category.

    Items are those of the reviews. Files that are already in `folder` are used as they are.

    Args:
        name: name of the dataset, for messages.
        config: holds the two downloads.
        folder: where the downloads are kept.
        progress: takes one line.

    Raises:
        DataError: not to be had, or damaged; the message says what to do instead.
    """
    assert config.reviews is not None and config.metadata is not None  # noqa: S101 - validated
    by_hand = " and ".join(map(_file_name, (config.reviews, config.metadata)))
    reviews = _fetch(name, config.reviews, folder, by_hand, progress)
    metadata = _fetch(name, config.metadata, folder, by_hand, progress)
    progress(f"{name}: reading {reviews.name}")
    users, items, times, ratings = [], [], [], []
    for line, review in _json_lines(reviews):
        try:
            users.append(str(review["reviewerID"]))
            items.append(str(review["asin"]))
            times.append(int(review["unixReviewTime"]))
            ratings.append(float(review["overall"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{reviews}: line {line}: no review: {error}") from error
    progress(f"{name}: reading {metadata.name}")
    titles = dict.fromkeys(items, "")
    for _, item in _json_lines(metadata):
        if item.get("asin") in titles:
            titles[item["asin"]] = _title(item.get("title"))
    silent = sum(1 for title in titles.values() if not title)
    return canonical(
        users,
        items,
        item_texts=titles,
        time=np.array(times, dtype=np.int64),
        rating=np.array(ratings, dtype=np.float32),
        origin=f"Amazon reviews of 2018, {reviews.name}",
        report=[
            f"read {len(users):,} reviews",
            f"{silent:,} of {len(titles):,} items lack a title",
        ],
    )


def _title(title: object) -> str:
    """The title, without the scraps of page source that stand in its place here and there."""
    text = clean_text(str(title or ""))
    return "" if "getTime" in text else text


def _file_name(download: Download) -> str:
    return download.urls[0].rpartition("/")[2]


def _fetch(name: str, download: Download, folder: Path, by_hand: str, progress: Progress) -> Path:
    """The file in `folder`, downloaded from the first mirror that has it, and verified."""
    path = folder / _file_name(download)
    if path.exists():
        _verify(path)
        return path
    failures = []
    for url in download.urls:
        progress(f"{name}: downloading {url}")
        try:
            with scratch_folder(folder) as scratch:
                _download(url, download.sha256, scratch / path.name)
                (scratch / path.name).rename(path)
        except (OSError, ValueError, DataError) as error:
            failures.append(f"{url}: {_reason(error)}")
        else:
            return path
    tried = "".join(f"\n    {failure}" for failure in failures)
    raise DataError(
        f"dataset '{name}' cannot be downloaded:{tried}\n"
        f"  Put {by_hand} into {folder} by hand, or\n"
        f"  bring your own copy: bench data import {name} PATH, or\n"
        "  use a dataset that needs no download: movielens"
    )


def _download(url: str, sha256: str | None, path: Path) -> None:
    import pooch

    pooch.get_logger().setLevel("ERROR")
    pooch.retrieve(
        url,
        known_hash=sha256,
        fname=path.name,
        path=path.parent,
        downloader=pooch.HTTPDownloader(timeout=TIMEOUT),
    )
    _verify(path)


def _verify(path: Path) -> None:
    """Read a gzip file to its end, where its checksum is.

    Raises:
        DataError: damaged or cut off.
    """
    try:
        with gzip.open(path) as stream:
            while stream.read(_BLOCK):
                pass
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged or cut off ({error}); remove it") from error


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                record = json.loads(line)
            except ValueError as error:
                raise DataError(f"{path}: line {number}: no JSON: {error}") from error
            if not isinstance(record, dict):
                raise DataError(f"{path}: line {number}: no JSON object")
            yield number, record


def _reason(error: Exception) -> str:
    """The cause, without the address that connection errors repeat."""
    cause = re.search(r"Caused by (\w+)", str(error))
    return f"no connection ({cause[1]})" if cause else str(error) or type(error).__name__
