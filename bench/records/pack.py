"""Records packed: one zip archive per dataset in place of three files per trial."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from bench.errors import DataError
from bench.files import write_whole, writing_to
from bench.records.archive import SUFFIX, Place
from bench.records.arrays import STUDENT
from bench.records.record import Record
from bench.records.store import LOG, USERS, ResultStore

LEFT_OUT = (STUDENT, LOG)
"""Files of a record that stay in its folder; no report is made of them."""


def pack(store: ResultStore) -> list[Path]:
    """Write the records of a results folder into `<folder>/<dataset>.zip`; their folders stay.

    Records that are in the folder's archives already are written again, so none is lost. The same
    records give the same bytes.

    Returns:
        The archives, ordered by name.

    Raises:
        ConfigError: the folder cannot be written to.
        DataError: an archive that is there cannot be read; a record is of a dataset whose name
            would lead out of the folder.
    """
    store.check_writable()
    store.sweep()
    written = []
    records = sorted(store.records(), key=_dataset)  # stable: by key within a dataset
    for dataset, group in groupby(records, _dataset):
        if Path(dataset).name != dataset:
            raise DataError(f"{store.folder}: dataset '{dataset}' is no name of a file")
        members = list(_members(store, list(group)))
        path = store.folder / f"{dataset}{SUFFIX}"
        with writing_to(f"results folder {store.folder}"):
            write_whole(path, partial(_write, members))
        written.append(path)
    return written


def _dataset(record: Record) -> str:
    return record.subject.dataset


def _members(store: ResultStore, records: list[Record]) -> Iterator[tuple[str, Place]]:
    """Name and place of all that an archive holds, laid out as in a results folder."""
    for record in records:
        files = packed_files(store, record.key)
        yield from ((f"{record.key}/{file.name}", file) for file in files)
    for fingerprint in sorted({str(record.subject.data_fingerprint) for record in records}):
        users = store.place(USERS, f"{fingerprint}.npy")
        if users is not None:
            yield f"{USERS}/{fingerprint}.npy", users


def packed_files(store: ResultStore, key: str) -> list[Place]:
    """The files of a record that are packed, ordered by name."""
    folder = store.place(key)
    files = [] if folder is None else [file for file in folder.iterdir() if file.is_file()]
    return sorted((f for f in files if f.name not in LEFT_OUT), key=lambda file: file.name)


def _write(members: list[tuple[str, Place]], stream: BinaryIO) -> None:
    with zipfile.ZipFile(stream, "w") as archive:
        for name, place in members:
            info = zipfile.ZipInfo(name)  # of 1980: the bytes do not say when they were packed
            info.create_system, info.external_attr = 3, 0o644 << 16  # nor on what system
            archive.writestr(info, place.read_bytes(), zipfile.ZIP_DEFLATED, compresslevel=9)
