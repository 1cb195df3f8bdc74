"""Records of several results folders in one: what machines without a shared disk have made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from bench import limits
from bench.errors import DataError
from bench.records.archive import Place
from bench.records.arrays import MASKED_RANKS, RANKS, STUDENT
from bench.records.record import Record
from bench.records.store import CURVE, LOG, RECORD, ResultStore


def merge(store: ResultStore, others: Iterable[ResultStore]) -> int:
    """Copy the records of other results folders or archives; all of them or none.

    A record that is there already stays; a failure gives way to a success.

    Returns:
        How many were copied.

    Raises:
        DataError: two records of one key have other ranks; each is named. Or an archive cannot be
            read.
        ConfigError: the folder cannot be written to.
    """
    chosen: dict[str, tuple[Record, ResultStore]] = {}
    copied: dict[str, tuple[Record, ResultStore]] = {}
    conflicts: list[str] = []
    for record in store.records():
        chosen[record.key] = record, store
    users: dict[str, ResultStore] = {}
    for other in others:
        for record in other.records():
            known = chosen.get(record.key)
            if known is None or (record.is_done and not known[0].is_done):
                chosen[record.key] = copied[record.key] = record, other
                users.setdefault(str(record.subject.data_fingerprint), other)
            elif record.is_done and (difference := _difference((record, other), known)):
                conflicts.append(difference)
    if conflicts:
        raise DataError("\n".join(["nothing was merged, since records contradict:", *conflicts]))
    store.check_writable()
    store.sweep()
    for fingerprint, other in users.items():
        found = other.users(fingerprint)
        if found is not None and store.users(fingerprint) is None:
            store.write_users(fingerprint, found)
    for key, (_, other) in copied.items():
        place = other.place(key)
        assert place is not None  # noqa: S101 - its record has been read
        adopt(store, key, _files(place))
    return len(copied)


def adopt(store: ResultStore, key: str, files: Mapping[str, bytes]) -> None:
    """Write a record that was made elsewhere, unless there is a success already.

    Args:
        store: where it goes.
        key: its key.
        files: content by name, as in the folder of a record.

    Raises:
        ConfigError: the folder cannot be written to.
        DataError: a file has no name of a file.
    """
    if strange := [name for name in files if Path(name).name != name]:
        raise DataError(f"record {key}: '{strange[0]}' is no name of a file")

    def fill(folder: Path) -> None:
        for name, content in files.items():
            (folder / name).write_bytes(content)

    store.put(key, fill)


def _files(place: Place) -> dict[str, bytes]:
    """The files of a record as a stranger may send it: nothing else that lies in its folder.

    Raises:
        DataError: one is no file, or far larger than it may be.
    """
    return {
        name: limits.read_whole(place / name, most)
        for name, most in _MOST.items()
        if (place / name).exists()
    }


_MOST = {
    RECORD: limits.RECORD,
    RANKS: limits.ARRAY,
    MASKED_RANKS: limits.ARRAY,
    CURVE: limits.CURVE,
    LOG: limits.ARRAY,
    STUDENT: limits.STUDENT,
}
"""Bytes of each file of a record at most."""


def _difference(one: tuple[Record, ResultStore], other: tuple[Record, ResultStore]) -> str | None:
    """How two successes of one key contradict; None where their ranks are the same."""
    (record, store), (known, place) = one, other
    if np.array_equal(store.ranks(record.key), place.ranks(record.key)):
        return None
    machines = " and ".join(
        f"{where.folder} ({made.environment.get('device_name', 'unknown device')})"
        for made, where in ((known, place), (record, store))
    )
    return f"  - {_label(record)} ({record.key[:12]}): other ranks in {machines}"


def _label(record: Record) -> str:
    return record.trial.label if record.trial else f"{record.subject.dataset} baseline"
