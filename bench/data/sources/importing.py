"""Bring your own data: what lies in your files becomes the source of a dataset."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import layers, paths
from bench.data.config import (
    DATASET_FILE,
    DatasetConfig,
    ProtocolConfig,
    ProtocolName,
    dataset_config,
)
from bench.data.files import dataset_locked, read_json, write_json
from bench.data.prepare import filters, interactions
from bench.data.prepare.events import Events
from bench.data.prepare.interactions import Interactions
from bench.data.prepare.protocols import targets_of
from bench.data.sources.columns import COLUMNS, find_column, first_column, need_column
from bench.data.sources.dllm2rec import is_dllm2rec, read_dllm2rec
from bench.data.sources.log import IDS, read_log, token_of
from bench.data.sources.minionerec import is_minionerec, read_minionerec
from bench.data.sources.sequences import read_sequences
from bench.data.sources.synthetic_config import MARK, is_synthetic
from bench.data.sources.tables import FORMATS, open_table, read_table, table_format
from bench.data.sources.texts import clean_text
from bench.errors import ConfigError, DataError, UnknownNameError
from bench.folders import replaced
from bench.paths import Workspace

INTERACTION_FILES = ("interactions", "ratings", "reviews", "events", "inter")
ITEM_FILES = ("items", "movies", "products", "metadata", "meta", "item")


@dataclass(frozen=True)
class Tables:
    """The files of an import and how they are read.

    Attributes:
        interactions: what holds the interactions: a file, or the folder of one of `FOLDERS`.
        items: table of items, or None.
        columns: column by role (keys of `tables.COLUMNS`), where it has no common name.
        texts: further columns of the item table whose content follows the title.
        layout: one of `LAYOUTS`.
        file_order: whether rows stand in the order of time: it orders a user's interactions where
            the table has neither times nor positions, and breaks the ties of times.
    """

    interactions: Path
    items: Path | None
    columns: Mapping[str, str] = field(default_factory=dict)
    texts: Sequence[str] = ()
    layout: str = "table"
    file_order: bool = False


def parse_columns(texts: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """`role=column` pairs as columns by role, and those of the role `text` in their order.

    Raises:
        ConfigError: not of that form, an unknown role, or a role given twice.
    """
    columns: dict[str, str] = {}
    further = []
    for text in texts:
        role, equals, column = text.partition("=")
        if not equals or not column:
            raise ConfigError(f"--column {text}: expected ROLE=NAME, such as user=reviewerID")
        if role == "text":
            further.append(column)
        elif role not in COLUMNS:
            raise UnknownNameError("role", role, [*COLUMNS, "text"], f"--column {text}")
        elif role in columns:
            raise ConfigError(f"--column {text}: the {role} is column '{columns[role]}' already")
        else:
            columns[role] = column
    return columns, further


def tables_at(
    path: Path,
    items: Path | None = None,
    columns: Iterable[str] = (),
    *,
    layout: str | None = None,
    file_order: bool = False,
) -> Tables:
    """The files of an import as the command line gives them.

    Args:
        path: a file, or a folder of files with telling names.
        items: the table of items, if it is not in that folder.
        columns: `role=column` pairs.
        layout: one of `LAYOUTS`; None means one of `FOLDERS` for a folder that looks so, else
            `table`.
        file_order: see `Tables`.

    Raises:
        DataError: nothing there, several candidates, or an option that the layout has no use for.
        ConfigError: pairs that are none.
    """
    by_role, texts = parse_columns(columns)
    found = (name for name, looks_so in FOLDERS.items() if path.is_dir() and looks_so(path))
    layout = layout or next(found, "table")
    if layout == "table":
        return Tables(*locate(path, items), by_role, texts, layout, file_order)
    roles = set() if layout in FOLDERS else {"item", "title"}
    unused = [f"--column {role}" for role in sorted(by_role.keys() - roles)]
    unused += ["--file-order"] * file_order
    if layout in FOLDERS:
        unused += ["--items"] * (items is not None) + ["--column text"] * bool(texts)
    if unused:
        raise DataError(f"{path}: layout {layout} has no use for {', '.join(unused)}")
    _check_there(path, items)
    if path.is_dir() != (layout in FOLDERS):
        kind = "folder" if layout in FOLDERS else "file"
        raise DataError(f"{path}: layout {layout} is read from a {kind}")
    return Tables(path, items, by_role, texts, layout)


def _check_there(path: Path, items: Path | None) -> None:
    for given in filter(None, (path, items)):
        if not given.exists():
            raise DataError(f"{given}: no such file or folder")
        if not (given.is_file() or given.is_dir()):
            raise DataError(f"{given}: is a pipe or a device, which may never end: save it first")


def locate(path: Path, items: Path | None = None) -> tuple[Path, Path | None]:
    """The tables of interactions and of items that a path stands for.

    Args:
        path: the table of interactions, or a folder that holds it (and a table of items).
        items: the table of items, if it is not in that folder.

    Raises:
        DataError: nothing there, or several candidates.
    """
    _check_there(path, items)
    if not path.is_dir():
        return path, items
    found = _named(path, INTERACTION_FILES)
    if found is None:
        expected = ", ".join(INTERACTION_FILES)
        there = ", ".join(sorted(p.name for p in path.iterdir())) or "nothing"
        raise DataError(
            f"{path}: no table of interactions, which is a file called one of {expected} with one "
            f"of the endings {FORMATS}. There: {there}"
        )
    return found, items or _named(path, ITEM_FILES)


def read(tables: Tables) -> Interactions:
    """Read and check the files.

    Raises:
        DataError: what is wrong, in which file, and what would be right.
    """
    events = LAYOUTS[tables.layout](tables)
    texts, report = ({}, []) if tables.layout in FOLDERS else _read_items(tables)
    _reject_foreign(events, texts, tables)
    return events.canonical(texts, f"import of {tables.interactions.name}", report)


def _reject_foreign(events: Events, texts: Mapping[str, str], tables: Tables) -> None:
    """A table of items that has none of the interactions' items is a mistake."""
    seen = events.item.categories if hasattr(events.item, "categories") else set(events.item)
    if texts and not texts.keys() & set(seen):
        raise DataError(
            f"{tables.items}: has none of the items of {tables.interactions.name}: its ids are "
            f"such as '{next(iter(texts))}', those of the interactions such as '{min(seen)}'. "
            "Name the column of the same ids with --column item=NAME, or leave the table out"
        )


def _read_table(tables: Tables) -> Events:
    path, given = tables.interactions, tables.columns
    with open_table(path) as table:
        names = table.names
        columns = {role: need_column(names, role, given.get(role), path) for role in IDS}
        for role in ("time", "position", "rating", "split"):
            found = find_column(names, role, given.get(role), path)
            columns |= {} if found is None else {role: found}
        if tables.file_order and "position" in columns:
            raise DataError(
                f"{path}: --file-order, but column '{columns['position']}' gives positions"
            )
        if not tables.file_order and not columns.keys() & {"time", "position"}:
            need_column(names, "time", None, path)
        events = read_log(table, columns, anonymous=True, file_order=tables.file_order)
    unused = [name for name in names if name not in columns.values()]
    if unused:
        events.report.append(f"columns not used: {', '.join(unused)}")
    return events


LAYOUTS: Mapping[str, Callable[[Tables], Events]] = {
    "table": _read_table,
    "user-sequences": lambda tables: read_sequences(tables.interactions, named=True),
    "item-sequences": lambda tables: read_sequences(tables.interactions, named=False),
    "dllm2rec": lambda tables: read_dllm2rec(tables.interactions),
    "minionerec": lambda tables: read_minionerec(tables.interactions),
}
"""How files hold interactions; docs/adding-a-dataset.md describes each of them."""

FOLDERS: Mapping[str, Callable[[Path], bool]] = {
    "dllm2rec": is_dllm2rec,
    "minionerec": is_minionerec,
}
"""Layouts of a whole folder, which has the texts of items as well, and what such a folder has."""


def store(
    name: str,
    data: Interactions,
    workspace: Workspace,
    *,
    protocol: ProtocolName | None = None,
    replace_shipped: bool = False,
    force: bool = False,
) -> None:
    """Make `data` the source of the dataset `name`, whole or not at all.

    What cannot be split by the protocol that is named, else by the dataset's own, is refused before
    anything is replaced. A dataset that no YAML configures gets a configuration beside its source.

    Args:
        name: lower-case letters, digits, `.`, `_` and `-`.
        data: what was read.
        workspace: where datasets are kept.
        protocol: what the data are for, and the own one of a dataset without a YAML; None: the own
            one of a dataset with a YAML, else as `generated_config` chooses.
        replace_shipped: whether the data may take the place of a dataset that the suite knows, and
            with it that dataset's filters and protocol.
        force: replace other interactions that are there.

    Raises:
        DataError: a name that is no folder name or stands for other data, other interactions are
            there, or the protocol leaves nothing to train or test on.
        ConfigError: the folder of the dataset cannot be written to.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name):
        raise DataError(
            f"'{name}' cannot be the name of a dataset: use lower-case letters, digits, '.', '_' "
            "and '-', such as my-shop"
        )
    if is_synthetic(name):
        raise DataError(
            f"'{name}' says that its interactions are synthetic: import under a name without "
            f"'{MARK}'"
        )
    configured = name in layers.names("datasets", workspace)
    if configured:
        config = dataset_config(name, workspace)
        _reject_shipped(name, config, workspace, replace_shipped)
    else:
        config = generated_config(data, protocol)
    asked = config.protocol_named(protocol)
    targets_of(filters.apply(data, config.filters_under(asked)), asked)
    home = workspace.datasets / name
    with dataset_locked(home):
        _reject_to_replace(name, data, home / "source", force)
        with replaced(home / "source") as folder:
            interactions.save(data, folder)
            if not configured:
                write_json(folder / DATASET_FILE, config.model_dump())


def _reject_shipped(
    name: str, config: DatasetConfig, workspace: Workspace, replace_shipped: bool
) -> None:
    shipped = layers.locate("datasets", name, workspace).is_relative_to(paths.shipped("configs"))
    if shipped and not replace_shipped:
        raise DataError(
            f"'{name}' is a dataset that the suite knows ({config.summary}), and its filters and "
            f"protocol ({config.protocol.slug}) would apply to yours: import under another name, "
            "or give --replace-shipped if this is a copy of it"
        )


def _reject_to_replace(name: str, data: Interactions, source: Path, force: bool) -> None:
    about = source / interactions.SOURCE_FILE
    if force or not about.is_file():
        return
    there = read_json(about)
    if there["fingerprint"] != data.fingerprint and there.get("order") == interactions.ORDER:
        raise DataError(
            f"dataset '{name}' has other interactions already ({there['origin']}, in {source}): "
            "give --force to replace them, or import under another name"
        )


def generated_config(data: Interactions, protocol: ProtocolName | None = None) -> DatasetConfig:
    """Configuration of an imported dataset that has none.

    Without a name the protocol is `temporal` where there are times, whose rows split labels divide
    where there are some, too; else `given`, which consists of labels, else `leave-one-out`.
    Without split labels every interaction but a user's first is a target.
    """
    without_time: ProtocolName = "leave-one-out" if data.split is None else "given"
    name: ProtocolName = protocol or ("temporal" if data.time is not None else without_time)
    if data.split is not None and name == "temporal":
        chosen = ProtocolConfig(name=name)
    else:
        chosen = ProtocolConfig(name=name, first_target=1)
    summary = f"{data.origin}: {len(data):,} interactions"
    return DatasetConfig(summary=summary, source="import", protocol=chosen)


def _named(folder: Path, stems: Sequence[str]) -> Path | None:
    """The one table in `folder` whose stem, or whose RecBole ending, is among `stems`."""
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.is_file()
        and table_format(path)
        and (path.name.split(".")[0].lower() in stems or table_format(path) in stems)
    ]
    if len(found) > 1:
        raise DataError(
            f"{folder}: several tables could be meant: {', '.join(p.name for p in found)}. "
            "Give the table of interactions itself, and --items for that of the items"
        )
    return found[0] if found else None


def _read_items(tables: Tables) -> tuple[dict[str, str], list[str]]:
    path = tables.items
    if path is None:
        for role, given in (("title", tables.columns.get("title")), ("text", tables.texts)):
            if given:
                raise DataError(f"--column {role} was given, but there is no table of items")
        return {}, ["no table of items: items have no text"]
    frame = read_table(path)
    names = list(frame.columns)
    # The item column is called the same in both tables, or has a common name in this one.
    name = tables.columns.get("item")
    shared = name if name in names else None
    item = find_column(names, "item", shared, path) or first_column(names, ("id",))
    if item is None:
        item = need_column(names, "item", None, path)
    title = need_column(names, "title", tables.columns.get("title"), path)
    written = frame[item]
    frame[item] = written.map(token_of)
    extra = [find_column(names, "title", column, path) for column in tables.texts]
    report = [f"read {len(frame):,} rows of {path.name}"]
    if (respelt := frame[item] != written).any():
        new, old = frame[item][respelt].iloc[0], written[respelt].iloc[0]
        report.append(f"ids of {path.name} are read as '{new}' where they are written '{old}'")
    named = frame[item] != ""
    if not named.all():
        report.append(f"dropped {(~named).sum():,} items without id")
        frame = frame[named]
    repeated = frame[item].duplicated()
    if repeated.any():
        raise DataError(
            f"{path}: item '{frame[item][repeated].iloc[0]}' stands more than once "
            f"({repeated.sum():,} repeated ids): each item needs one row"
        )
    columns = [frame[column] for column in (title, *extra)]
    texts = {
        token: ". ".join(filter(None, map(clean_text, parts)))
        for token, *parts in zip(frame[item], *columns, strict=True)
    }
    return texts, report
