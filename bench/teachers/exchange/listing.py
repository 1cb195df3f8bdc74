"""Ranked lists from a table, one line per listed item, addressed by the keys of rows.

user[, target or ordinal], item[, rank][, distance or score]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench import limits
from bench.data.examples import Examples, PreparedData
from bench.data.sources.columns import COLUMNS, first_column, parse_numbers
from bench.data.sources.tables import read_table
from bench.errors import ConfigError, DataError
from bench.teachers.exchange.naming import Key, clean, find_base, ids_by_name, integers
from bench.teachers.rows import preference

if TYPE_CHECKING:
    import pandas as pd

Value = Literal["distance", "score"]

NAMES = {
    "user": COLUMNS["user"],
    "target": ("target", "target_id", "target_item", "target_item_id", "next_item"),
    "ordinal": ("ordinal", "target_ordinal"),
    "item": COLUMNS["item"],
    "rank": ("rank", "place"),
    "distance": ("distance", "dist"),
    "score": ("score",),
    "value": ("value",),
}
"""Names under which a column is found; case does not matter."""

SPLITS = ("train", "valid", "test")

_OTHER_BASES = (1, 2, -1, -2)
"""From what ordinals may have been counted by mistake."""

_NO_LIST = "no row has a list of items that the catalogue knows"


@dataclass
class ListsOfRows:
    """Ranked lists of some rows of one split.

    Attributes:
        row: int64 [M], row ids.
        ids: int32 [M, K], 1..N, best first; 0 behind the end of a list.
        values: float [M, K] distances, infinite behind the end of a list; or None.
    """

    row: NDArray[np.int64]
    ids: NDArray[np.int32]
    values: NDArray[np.floating[Any]] | None


@dataclass
class Listing:
    """The lists of a table.

    Attributes:
        of: the lists by split (`train`, `valid`, `test`).
        named: int64 [M'], by split, the rows that the table names, whatever it says of them.
        report: what a reader of the import must know.
    """

    of: dict[str, ListsOfRows] = field(default_factory=dict)
    named: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    report: list[str] = field(default_factory=list)


def read_listing(
    path: Path,
    data: PreparedData,
    key: Key | None = None,
    id_base: int | None = None,
    value: Value | None = None,
) -> Listing:
    """Read the lists of a table.

    A row of a split is found by (user token, ordinal) or by (user token, token of its target);
    where each user has one test row, as in leave-one-out, that row is found by its user alone. A
    list is ordered by `rank` where there is one, else by distance or score (ties as
    `naming.preference` says), else as its lines are. An item that is named twice in a list counts
    at its best place. Scores become distances as `distances_of` says.

    Args:
        path: `.csv`, `.tsv` (also `.gz`) or `.parquet`, with a header.
        data: the rows and the catalogue.
        key: what the column of items holds; None: tokens, unless integers could be both.
        id_base: base of integer ids.
        value: what a column called `value` holds.

    Raises:
        DataError: unreadable, columns missing, keys that are not unique, no list of known items
            for any row.
        ConfigError: something that only the user can tell.
    """
    import pandas as pd

    frame = read_table(path)
    columns = _columns(frame, data, path)
    listing = Listing(report=[f"read {len(frame):,} lines of {path.name}"])
    names = frame[columns["item"]]
    key = key or _key_of(names, data, path)
    kind = _value_kind(columns, value, path)
    table = _rows_of(frame, columns, data, path, listing.report)
    rows = ((split, table["row"][table["split"] == split].unique()) for split in SPLITS)
    listing.named = {split: named for split, named in rows if len(named)}
    if kind is not None:
        numbers = parse_numbers(frame[columns[_value_column(columns)]], path)
        table["value"] = pd.Series(numbers, frame.index, dtype=np.float64)
        if kind == "score":
            table["value"] = -table["value"]
    if "rank" in columns:
        table["rank"] = pd.Series(parse_numbers(frame[columns["rank"]], path), frame.index)
        _reject_tied_ranks(table, frame[columns["user"]], path)
    table = _with_items(table, names, data, key, id_base, path, listing.report)
    table = _in_order(table, data, listing.report)
    for split in SPLITS:
        part = table[table["split"] == split]
        if len(part):
            budget = limits.Budget(path, path.stat().st_size)
            budget.cells(part["list"].nunique() * (int(part["place"].max()) + 1))
            lists = _padded(part, values=kind is not None)
            if kind == "score" and lists.values is not None:
                lists.values = distances_of(-lists.values)
            listing.of[split] = lists
    if kind == "score":
        listing.report.append("distance = best score of the list - score")
    return listing


def distances_of(scores: NDArray[Any]) -> NDArray[np.float32]:
    """Distances of scores [R, K]: the best score of the list less the score.

    They are 0 for the best and grow as scores fall, and softmax(-distance / T) is
    softmax(score / T).
    """
    best = scores.max(axis=1, keepdims=True).astype(np.float64)
    return np.asarray(best - scores, dtype=np.float32)


def rectangular(
    lists: ListsOfRows, rows: int, length: int | None, report: list[str], where: str
) -> tuple[NDArray[np.int32], NDArray[np.float32] | None, NDArray[np.bool_]]:
    """Lists of equal length for every row, and which rows have one.

    Args:
        lists: M lists of any length.
        rows: R.
        length: K_T; None is the length that most lists have, of several the longest.
        report: takes lines about what was cut and left out.
        where: the file that the lists are from, for messages.

    Returns:
        ids int32 [R, K_T], distances float32 [R, K_T] or None, covered bool [R].

    Raises:
        DataError: no list is long enough.
    """
    sizes = (lists.ids > 0).sum(axis=1)
    if not sizes.any():
        raise DataError(f"{where}: {_NO_LIST}")
    length = length or usual_length(sizes)
    whole = sizes >= length
    longer, shorter = int((sizes > length).sum()), int((~whole).sum())
    report.append(f"lists of {length} items: {longer:,} longer ones cut to that")
    if shorter:
        report.append(f"left out {shorter:,} lists that are shorter")
    if not whole.any():
        raise DataError(f"{where}: no list has {length} items that the catalogue knows")
    ids = np.zeros((rows, length), dtype=np.int32)
    ids[lists.row[whole]] = lists.ids[whole, :length]
    covered = np.zeros(rows, dtype=bool)
    covered[lists.row[whole]] = True
    ids[~covered] = np.arange(1, length + 1)
    if lists.values is None:
        return ids, None, covered
    distances = np.zeros((rows, length), dtype=np.float32)
    distances[lists.row[whole]] = lists.values[whole, :length]
    return ids, distances, covered


def usual_length(sizes: NDArray[np.int64]) -> int:
    """The length that most of the lists have that name an item, of several the longest.

    Args:
        sizes: int64 [M], not all 0.
    """
    counts = np.bincount(sizes[sizes > 0])
    return int(np.flatnonzero(counts == counts.max())[-1])


def _columns(frame: pd.DataFrame, data: PreparedData, path: Path) -> dict[str, str]:
    found = {
        role: column
        for role, names in NAMES.items()
        if (column := first_column(frame.columns, names)) is not None
    }
    missing = [role for role in ("user", "item") if role not in found]
    several = len(data.test) > len(np.unique(data.test.user))
    if "ordinal" not in found and "target" not in found and several:
        missing.append("ordinal or target (a user has several test rows)")
    if missing:
        known = "; ".join(f"{role}: {', '.join(names)}" for role, names in NAMES.items())
        raise DataError(
            f"{path}: no column for {' and '.join(missing)}. Columns: "
            f"{', '.join(frame.columns)}. Names that are known: {known}"
        )
    return found


def _key_of(names: pd.Series, data: PreparedData, path: Path) -> Key:
    if integers(data.item_tokens) and integers(names.unique().tolist()):
        raise ConfigError(
            f"{path}: the items are integers, and so are the tokens of {data.dataset}: say which "
            "they are with --item-key token or --item-key id"
        )
    return "token"


def _value_column(columns: dict[str, str]) -> str:
    return next(role for role in ("distance", "score", "value") if role in columns)


def _value_kind(columns: dict[str, str], value: Value | None, path: Path) -> Value | None:
    found = [role for role in ("distance", "score", "value") if role in columns]
    if not found:
        return None
    if len(found) > 1:
        raise DataError(
            f"{path}: both '{columns[found[0]]}' and '{columns[found[1]]}': one is used"
        )
    if found == ["value"]:
        if value is None:
            raise ConfigError(f"{path}: what is 'value'? Say --value distance or --value score")
        return value
    kind: Value = "distance" if found == ["distance"] else "score"
    if value not in (None, kind):
        raise ConfigError(f"{path}: --value {value}, but its column is '{columns[kind]}'")
    return kind


def _rows_of(
    frame: pd.DataFrame,
    columns: dict[str, str],
    data: PreparedData,
    path: Path,
    report: list[str],
) -> pd.DataFrame:
    """`list` (number of the list), `split` and `row` of the lines whose key is that of a row."""
    import pandas as pd

    by = next((name for name in ("ordinal", "target") if name in columns), "user")
    keyed = pd.DataFrame({"user": frame[columns["user"]], "key": frame[columns[by]]})
    if by == "ordinal":
        numbers = parse_numbers(keyed["key"], path)
        odd = keyed.index[(numbers != np.floor(numbers)) | (numbers < 0)]
        if len(odd):
            raise DataError(
                f"{path}: row {odd[0]}: ordinal '{keyed['key'][odd[0]]}' is no whole number from 0 "
                "on: it is the place of the target in its user's history, counted from 0"
            )
        keyed["key"] = numbers
    keyed["list"] = keyed.groupby(["user", "key"], sort=False).ngroup()
    lists = keyed.drop_duplicates("list")
    splits = SPLITS if by != "user" else ("test",)
    rows = pd.concat([_keys(getattr(data, split), split, data, by) for split in splits])
    found = lists.merge(rows, on=["user", "key"], how="left")
    twice = found["list"].duplicated()
    if twice.any():
        one = found[twice].iloc[0]
        raise DataError(
            f"{path}: {twice.sum():,} keys are those of several rows, such as user "
            f"'{one['user']}' with target '{one['key']}': name rows by the ordinal of their target "
            f"in the user's history (column 'ordinal', counted from 0)"
        )
    if by == "ordinal":
        _reject_shifted(found, rows, path, report)
    where = found.set_index("list")[["split", "row"]]
    of_split = where["split"].fillna("").value_counts()
    keys = "user" if by == "user" else f"user and {by}"
    counts = (f"{of_split.get(split, 0):,} of {split} rows" for split in SPLITS)
    report.append(f"{len(lists):,} lists by {keys}: {', '.join(counts)}")
    if of_split.get("", 0):
        first = found[found["split"].isna()].iloc[0]
        report.append(
            f"not stored: {of_split['']:,} lists of no row (first: user '{first['user']}', "
            f"{by} '{first['key']}')"
        )
    if not found["split"].notna().any():
        raise DataError(f"{path}: no list is that of a row of {data.dataset}: " + report[-1])
    table = keyed[["list"]].join(where, on="list")
    return table.dropna(subset="split").astype({"row": np.int64})


def _reject_shifted(found: pd.DataFrame, rows: pd.DataFrame, path: Path, report: list[str]) -> None:
    """Ordinals that are those of more rows if they count from 1, or -1, are none from 0."""

    def of_rows(base: int) -> int:
        counted = found[["user", "key"]].assign(key=found["key"] - base)
        return len(counted.merge(rows, on=["user", "key"]))

    from_0 = int(found["split"].notna().sum())
    from_base = {base: of_rows(base) for base in _OTHER_BASES}
    base = max(_OTHER_BASES, key=from_base.__getitem__)
    if from_base[base] > from_0:
        mended = f"Subtract {base}" if base > 0 else f"Add {-base}"
        raise DataError(
            f"{path}: the ordinals seem to count from {base}: {from_base[base]:,} of "
            f"{len(found):,} lists are those of rows so, and {from_0:,} counted from 0. {mended}, "
            "or name rows by target"
        )
    if from_base[1] == from_0 > 0:
        report.append(
            "on trust: the ordinals count from 0 (counted from 1 they would be those of as many "
            "rows; a column 'target' would prove it)"
        )


def _reject_tied_ranks(table: pd.DataFrame, users: pd.Series, path: Path) -> None:
    """Equal ranks in a list leave its order open, unless distances or scores tell it."""
    by = ["list", "rank", *(["value"] if "value" in table else [])]
    tied = table.duplicated(by)
    if tied.any():
        row = table.index[tied][0]
        raise DataError(
            f"{path}: row {row}: rank {table['rank'][row]:g} stands twice in a list of user "
            f"'{users[row]}' ({tied.sum():,} such rows): ranks must tell the order of a list"
        )


def _keys(rows: Examples, split: str, data: PreparedData, by: str) -> pd.DataFrame:
    import pandas as pd

    users = np.array(data.user_tokens, dtype=object)[rows.user]
    key: Any = rows.ordinal.astype(np.int64)
    if by == "target":
        key = np.array(data.item_tokens, dtype=object)[rows.target - 1]
    if by == "user":
        key = users
    keys = pd.DataFrame({"user": users, "key": key, "split": split, "row": np.arange(len(rows))})
    return keys.astype({"user": "str"} if by == "ordinal" else {"user": "str", "key": "str"})


def _with_items(
    table: pd.DataFrame,
    names: pd.Series,
    data: PreparedData,
    key: Key,
    id_base: int | None,
    path: Path,
    report: list[str],
) -> pd.DataFrame:
    """The table with `item`, an id 1..N; a title of several items has a line for each of them."""
    used = names.loc[table.index]
    if key == "id":
        numbers = parse_numbers(used, path).astype(np.int64)
        base, why = find_base(numbers, data.n_items, id_base, f"the lists of {path.name}")
        report.append(why)
        return table.assign(item=numbers - base + 1)
    known = ids_by_name(data, key)
    cleaned = {name: known.get(clean(name, key)) for name in used.unique()}
    items = used.map(cleaned)
    unknown = items.isna()
    if unknown.any():
        first = used[unknown].iloc[0]
        report.append(
            f"left out {unknown.sum():,} entries that are no {key} of {data.dataset} (first: "
            f"'{first}')"
        )
    learned = table["split"] == ("train" if table["split"].eq("train").any() else "test")
    if unknown[learned].all() and learned.any():
        raise DataError(
            f"{path}: {_NO_LIST}: '{used[learned].iloc[0]}', the first, is no {key} of "
            f"{data.dataset}; --item-key tells what items are called: token, title or id"
        )
    table = table.assign(item=items)[~unknown].explode("item")
    return table.astype({"item": np.int64})


def _in_order(table: pd.DataFrame, data: PreparedData, report: list[str]) -> pd.DataFrame:
    """The lines list by list, best first, no item twice, each with its `place` in the list."""
    preferred = np.zeros(data.n_items + 1, dtype=np.int64)
    preferred[preference(data)] = np.arange(data.n_items)
    by: Sequence[str] = [name for name in ("rank", "value") if name in table]
    table = table.assign(line=table.index, preferred=preferred[table["item"]])
    last = ["preferred"] if by else ["line", "preferred"]
    table = table.sort_values(["list", *by, *last], kind="stable")
    again = table.duplicated(["list", "item"])
    if again.any():
        report.append(f"left out {again.sum():,} entries that repeat an item of their list")
        table = table[~again]
    return table.assign(place=table.groupby("list").cumcount())


def _padded(table: pd.DataFrame, *, values: bool) -> ListsOfRows:
    number, first = np.unique(table["list"], return_index=True)
    at = np.searchsorted(number, table["list"])
    shape = (len(number), int(table["place"].max()) + 1)
    ids = np.zeros(shape, dtype=np.int32)
    ids[at, table["place"]] = table["item"]
    result = ListsOfRows(table["row"].to_numpy()[first], ids, None)
    if values:
        result.values = np.full(shape, np.inf)
        result.values[at, table["place"]] = table["value"]
    return result
