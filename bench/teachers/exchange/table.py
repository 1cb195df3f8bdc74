"""Lists from a table that addresses rows by keys, and what they say of rows of evaluation."""

from __future__ import annotations

from bench.errors import ConfigError, DataError
from bench.teachers.exchange.evaluation import Evaluation, evaluated
from bench.teachers.exchange.files import ImportedFiles, Lists
from bench.teachers.exchange.listing import SPLITS, Listing, read_listing, rectangular


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
    lists = listing.of.get("train")
    if lists is None:
        if not listing.of:
            raise DataError(f"{table}: no row has a list of items that the catalogue knows")
        return Lists(evaluations=_evaluations(files, listing))
    ids, distances, covered = rectangular(
        lists, rows, request.list_length, files.report, str(table)
    )
    return Lists(ids, distances, covered, _evaluations(files, listing))


def _evaluations(files: ImportedFiles, listing: Listing) -> dict[str, Evaluation]:
    """What the lists of rows of evaluation measure, by split.

    It is told where every row is named. A list may end early, or be empty where the catalogue
    knows none of its items: a missing place is a miss.
    """
    found = {}
    for split in SPLITS[1:]:
        rows, named = getattr(files.data, split), listing.named.get(split, ())
        lists = listing.of.get(split)
        if len(named) < len(rows) or lists is None:
            if len(named):
                missing = len(rows) - len(named)
                files.report.append(
                    f"no metrics on {split}: {missing:,} of its {len(rows):,} rows have no list"
                )
            continue
        found[split] = evaluated(lists, rows.target, files.data.n_items)
        files.measured(split, found[split])
    return found
