"""Lists from a table that addresses rows by keys, and what they say of rows of evaluation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.errors import ConfigError
from bench.teachers.exchange.given import Given, Lists
from bench.teachers.exchange.listing import SPLITS, Listing, read_listing, rectangular

METRICS_AT = 20
"""Shortest list whose place of the target gives the metrics that leaderboards show."""


def from_table(given: Given) -> Lists:
    """A table of lists by keys of rows.

    Raises:
        ConfigError: an order of items was given, which a table does not need.
        DataError: the table cannot be understood, or its rows are not those of the data.
    """
    request = given.request
    if request.items is not None and "embeddings" not in given.sources:
        raise ConfigError("--items orders arrays, and none was given")
    table, rows = given.sources["table"], len(given.data.train)
    listing = read_listing(table, given.data, request.item_key, request.id_base, request.value)
    given.report += listing.report
    ids, distances, covered = rectangular(
        listing.of["train"], rows, request.list_length, given.report, str(table)
    )
    return Lists(ids, distances, covered, _own_ranks(given, listing))


def _own_ranks(given: Given, listing: Listing) -> dict[str, NDArray[np.int32]]:
    """Ranks of evaluation targets where every row has a list: N where it does not name them."""
    ranks = {}
    for split in SPLITS[1:]:
        lists, rows = listing.of.get(split), getattr(given.data, split)
        if lists is None or len(lists.row) < len(rows):
            continue
        shortest = int((lists.ids > 0).sum(axis=1).min())
        if shortest < min(METRICS_AT, given.data.n_items):
            continue
        hit = lists.ids == rows.target[lists.row, None]
        found = np.full(len(rows), given.data.n_items, dtype=np.int32)
        found[lists.row[hit.any(axis=1)]] = hit.argmax(axis=1)[hit.any(axis=1)] + 1
        ranks[split] = found
        given.notes.append(
            f"Its ranks on the {split} rows are those of its lists, of {shortest} items or "
            f"more; a target that is not listed counts as rank {given.data.n_items}."
        )
    return ranks
