"""Lists from a table that addresses rows by keys, and what they say of rows of evaluation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.errors import ConfigError
from bench.teachers.exchange.files import ImportedFiles, Lists
from bench.teachers.exchange.listing import SPLITS, Listing, read_listing, rectangular

METRICS_AT = 20
"""Shortest list whose place of the target gives the metrics that leaderboards show."""


def from_table(files: ImportedFiles) -> Lists:
    """A table of lists by keys of rows.

    Raises:
        ConfigError: an order of items was given, which a table does not need.
        DataError: the table cannot be understood, or its rows are not those of the data.
    """
    request = files.request
    if request.items is not None and "embeddings" not in files.sources:
        raise ConfigError("--items orders arrays, and none was given")
    table, rows = files.sources["table"], len(files.data.train)
    listing = read_listing(table, files.data, request.item_key, request.id_base, request.value)
    files.report += listing.report
    ids, distances, covered = rectangular(
        listing.of["train"], rows, request.list_length, files.report, str(table)
    )
    return Lists(ids, distances, covered, _own_ranks(files, listing))


def _own_ranks(files: ImportedFiles, listing: Listing) -> dict[str, NDArray[np.int32]]:
    """Ranks of evaluation targets where every row has a list: N where it does not name them."""
    ranks = {}
    for split in SPLITS[1:]:
        lists, rows = listing.of.get(split), getattr(files.data, split)
        if lists is None or len(lists.row) < len(rows):
            continue
        shortest = int((lists.ids > 0).sum(axis=1).min())
        if shortest < min(METRICS_AT, files.data.n_items):
            continue
        hit = lists.ids == rows.target[lists.row, None]
        found = np.full(len(rows), files.data.n_items, dtype=np.int32)
        found[lists.row[hit.any(axis=1)]] = hit.argmax(axis=1)[hit.any(axis=1)] + 1
        ranks[split] = found
        files.notes.append(
            f"Its ranks on the {split} rows are those of its lists, of {shortest} items or "
            f"more; a target that is not listed counts as rank {files.data.n_items}."
        )
    return ranks
