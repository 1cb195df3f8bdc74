"""Prepared data on disk: made once, whole or absent, memory-mapped ever after.

`datasets/<name>/source/` holds the interactions in canonical order, `datasets/<name>/<slug>/` the
rows of one protocol: `<split>.<array>.npy`, `users.json`, `items.json` and `data.json`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from bench.data import repeats
from bench.data.config import DataIdentity, DatasetConfig, ProtocolConfig
from bench.data.examples import Examples, PreparedData, Sequences
from bench.data.files import dataset_locked, read_json, write_json
from bench.data.fingerprints import catalogue_fingerprint, data_fingerprint, split_fingerprint
from bench.data.prepare import filters, interactions
from bench.data.prepare.interactions import SOURCE_FILE, SPLITS, Interactions
from bench.data.prepare.protocols import targets_of
from bench.data.prepare.windows import examples_at
from bench.data.sources import fetch as sources
from bench.errors import DataError
from bench.folders import replaced
from bench.paths import Workspace

_logger = logging.getLogger(__name__)

DATA_FILE = "data.json"
LAYOUT = 3
"""Version of the files below a protocol's folder; another one is made anew."""

_TABLE = ("history", "length", "target", "user", "ordinal")
_SEQUENCES = ("item", "start")


def prepare(
    name: str,
    config: DatasetConfig,
    protocol: ProtocolConfig,
    workspace: Workspace,
) -> PreparedData:
    """The rows of a dataset under a protocol; what is missing or out of date is made first.

    Several processes may call it at once: one makes, the others wait.

    Raises:
        DataError: the source cannot be had or read, or does not suit the protocol.
        ConfigError: the folder of the dataset cannot be written to.
    """
    home = workspace.datasets / name
    with dataset_locked(home):
        stored = _has_source(name, config, workspace)
        data = source(name, config, workspace)
        made_from = {
            "layout": LAYOUT,
            "source": _identity(home / "source" / SOURCE_FILE),
            "filters": config.filters.model_dump(),
            "protocol": protocol.model_dump(exclude={"seen"}),
        }
        folder = home / protocol.slug
        if (_current(folder) or {}).get("made_from") == made_from:
            try:
                return load(name, protocol.slug, workspace)
            except DataError as error:
                _logger.warning(f"{name}: the rows of {protocol.slug} are made again: {error}")
        _logger.info(f"{name}: making the rows of {protocol.slug}")
        if stored and data.fingerprint != read_json(home / "source" / SOURCE_FILE)["fingerprint"]:
            raise DataError(
                f"{home / 'source'}: its interactions are not those that {SOURCE_FILE} describes: "
                "delete this folder, and import or prepare the dataset again"
            )
        with replaced(folder) as temporary:
            _write(data, config, protocol, made_from, temporary)
        return _load(name, protocol.slug, workspace)


def source(name: str, config: DatasetConfig, workspace: Workspace) -> Interactions:
    """The interactions of a dataset; fetched and stored if they are not there (or outdated).

    Raises:
        DataError: they cannot be had.
    """
    folder = workspace.datasets / name / "source"
    if not _has_source(name, config, workspace):
        data = sources.fetch(name, config, workspace)
        with replaced(folder) as temporary:
            interactions.save(data, temporary)
    return interactions.load(folder)


def _has_source(name: str, config: DatasetConfig, workspace: Workspace) -> bool:
    there = workspace.datasets / name / "source" / SOURCE_FILE
    return there.exists() and not sources.is_outdated(config, read_json(there))


def load(name: str, protocol_slug: str, workspace: Workspace) -> PreparedData:
    """Prepared rows, arrays memory-mapped, if they are what their fingerprint says.

    Raises:
        DataError: not prepared (or only from another source), or a file is missing or damaged, or
            holds something else than was written.
    """
    prepared = _load(name, protocol_slug, workspace)
    _check(prepared, workspace.datasets / name / protocol_slug)
    return prepared


def _load(name: str, protocol_slug: str, workspace: Workspace) -> PreparedData:
    """As `load`, of files that this process has just written."""
    folder = workspace.datasets / name / protocol_slug
    found = _current(folder)
    if found is None:
        raise DataError(
            f"dataset '{name}' is not prepared under '{protocol_slug}' ({folder}): "
            f"run 'bench data prepare {name}'"
        )
    items = read_json(folder / "items.json")
    return PreparedData(
        dataset=name,
        protocol=protocol_slug,
        item_tokens=items["tokens"],
        item_texts=items["texts"],
        user_tokens=read_json(folder / "users.json"),
        **{split: _load_rows(folder, split) for split in SPLITS},
        catalogue_fingerprint=found["catalogue_fingerprint"],
        split_fingerprint=found["split_fingerprint"],
        fingerprint=found["fingerprint"],
        sequences=Sequences(
            *(interactions.load_array(folder / f"sequences.{a}.npy") for a in _SEQUENCES)
        ),
    )


def _check(data: PreparedData, folder: Path) -> None:
    """Hash what was read, at the speed of the disk: numbers must not land under another's key.

    Raises:
        DataError: it is not what its fingerprints say.
    """
    tables = [data.train, data.valid, data.test]
    try:
        catalogue = catalogue_fingerprint(data.item_tokens)
        split = split_fingerprint(data.user_tokens, data.item_tokens, tables)
        found = data_fingerprint(catalogue, split, tables)
        lengths = {len(array) for rows in tables for array in (rows.history, rows.user)}
        texts, sequences = len(data.item_texts), data.sequences
        whole = texts == data.n_items and lengths == {len(rows) for rows in tables}
        if sequences is not None:
            start, item = sequences.start, sequences.item
            whole &= len(start) == data.n_users + 1 and int(start[-1]) == len(item)
            whole &= not len(item) or (int(item.min()) >= 1 and int(item.max()) <= data.n_items)
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise DataError(f"{folder}: holds no rows ({error}); delete it") from error
    if found != data.fingerprint or not whole:
        raise DataError(
            f"{folder}: its files are not those that {DATA_FILE} describes (fingerprint "
            f"{found[:12]}, and not {data.fingerprint[:12]}); delete it, and `bench data prepare "
            f"{data.dataset}` makes it again"
        )


def identity(name: str, protocol_slug: str, workspace: Workspace) -> DataIdentity | None:
    """What trials know of prepared data, without loading it; None where it is not prepared."""
    found = _current(workspace.datasets / name / protocol_slug)
    return None if found is None else DataIdentity(found["fingerprint"], found["seen"])


def about(name: str, protocol_slug: str, workspace: Workspace) -> dict[str, Any]:
    """Counts, origin and report of prepared data.

    Raises:
        DataError: not prepared, or damaged.
    """
    found: dict[str, Any] = read_json(workspace.datasets / name / protocol_slug / DATA_FILE)
    return found


def _current(folder: Path) -> dict[str, Any] | None:
    """What `data.json` says; None where there is none, or the source is another by now."""
    if not (folder / DATA_FILE).exists():
        return None
    found: dict[str, Any] = read_json(folder / DATA_FILE)
    source_file = folder.parent / "source" / SOURCE_FILE
    made_from = found["made_from"]
    current = (
        source_file.exists()
        and made_from["source"] == _identity(source_file)
        and made_from["layout"] == LAYOUT
    )
    return found if current else None


def _identity(source_file: Path) -> str:
    """What stored interactions are known by: their fingerprint and, as filters use it, the scale.

    A scale of 1 goes without saying, as in rows that were made before there were others.
    """
    about = read_json(source_file)
    scale = interactions.time_scale(about)
    return str(about["fingerprint"]) if scale == 1 else f"{about['fingerprint']} in 1/{scale}"


def _write(
    data: Interactions,
    config: DatasetConfig,
    protocol: ProtocolConfig,
    made_from: dict[str, Any],
    folder: Path,
) -> None:
    data = filters.apply(data, config.filters_under(protocol))
    ordinal, size = data.ordinals
    report = list(data.report)
    if data.split is not None and protocol.name == "temporal":
        report.append("the split is that of the source's labels, as in protocol given")
    if single := int((size == 1).sum()):
        report.append(
            f"{single:,} users have one interaction, which no history goes before: no row"
        )
    tables = [
        examples_at(targets, data.user, data.item, ordinal, protocol.history)
        for targets in targets_of(data, protocol)
    ]
    by_split = dict(zip(SPLITS, tables, strict=True))
    for split, rows in by_split.items():
        for array in _TABLE:
            np.save(folder / f"{split}.{array}.npy", getattr(rows, array))
    sequences = Sequences.of(data.user, data.item, len(data.user_tokens))
    for array in _SEQUENCES:
        np.save(folder / f"sequences.{array}.npy", getattr(sequences, array))
    shares = repeats.repeated(by_split, sequences)
    write_json(folder / "users.json", data.user_tokens)
    write_json(folder / "items.json", {"tokens": data.item_tokens, "texts": data.item_texts})
    catalogue = catalogue_fingerprint(data.item_tokens)
    split_hash = split_fingerprint(data.user_tokens, data.item_tokens, tables)
    summary = {
        "origin": data.origin,
        "report": report,
        "users": len(data.user_tokens),
        "items": len(data.item_tokens),
        "interactions": len(data),
        "rows": {split: len(rows) for split, rows in by_split.items()},
        "repeats": shares,
        "seen": repeats.rule(by_split, shares),
        "catalogue_fingerprint": catalogue,
        "split_fingerprint": split_hash,
        "fingerprint": data_fingerprint(catalogue, split_hash, tables),
        "made_from": made_from,
    }
    write_json(folder / DATA_FILE, summary)


def _load_rows(folder: Path, split: str) -> Examples:
    arrays = {a: interactions.load_array(folder / f"{split}.{a}.npy") for a in _TABLE}
    return Examples(**arrays)
