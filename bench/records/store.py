"""The records of one results folder; whole or absent, whoever writes and whenever it is killed.

A record is the folder `<results>/<key>/`, written under a temporary name and renamed. Archives in
the results folder (`<results>/*.zip`, see `pack`) hold more of them, laid out in the same way; they
are read only. Processes that share a folder agree through locks that die with their holder.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import json
import logging
import random
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import limits, locks
from bench.data.config import Seen
from bench.data.examples import Ids
from bench.errors import ConfigError, DataError, NotWritten
from bench.files import swept, write_whole, writing_to
from bench.folders import left_behind, replaced, sweep
from bench.printable import for_spreadsheet
from bench.records.archive import SUFFIX, UNREADABLE, Place, open_archive
from bench.records.arrays import MASKED_RANKS, RANKS, STUDENT, read_ranks, read_users
from bench.records.checks import check
from bench.records.record import Outcome, Record, without_nan

RECORD = "record.json"
CURVE = "curve.csv"
LOG = "log.jsonl"
USERS = "users"
CLAIMS = ".claims"
STATES = ".states"
PLANS = ".plans"

ATTEMPTS = 10
"""At a record that another process writes as well."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_KEY = re.compile(r"[0-9a-f]{64}")
_logger = logging.getLogger(__name__)


class ResultStore:
    """Records by key, and the users of test examples by the fingerprint of their data.

    A record that cannot be read, or that is not what its key, its hashes and its ranks say, is
    reported once and counts as absent, so that its trial runs again and replaces it. The folder
    comes before its archives, and those in the order of their names.

    Args:
        folder: the results folder, or one archive, which cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._reported: set[str] = set()

    def __reduce__(self) -> tuple[type[ResultStore], tuple[Path]]:
        return ResultStore, (self.folder,)  # another process reads the archives itself

    @functools.cached_property
    def _roots(self) -> list[Place]:
        """Where records are: the folder itself, if it is there, and its archives."""
        if self.folder.is_file():
            return [open_archive(self.folder)]
        if self.folder.exists() and not self.folder.is_dir():
            raise DataError(f"{self.folder}: is neither a folder nor an archive of records")
        return [self.folder, *map(open_archive, sorted(self.folder.glob(f"*{SUFFIX}")))]

    def place(self, *names: str) -> Place | None:
        """Where the folder or file with this path is, such as `KEY` or `KEY, RANKS`; or None.

        What a record names is not trusted: nothing outside the results folder is found.

        Raises:
            DataError: an archive cannot be read.
        """
        if not all(map(_NAME.fullmatch, names)):
            return None
        places = (root.joinpath(*names) for root in self._roots)
        return next((place for place in places if place.exists()), None)

    def get(self, key: str) -> Record | None:
        """The record called `key`, or None if there is none that can be read.

        Raises:
            DataError: an archive cannot be read.
        """
        place = self.place(key)
        return None if place is None else self._read(key, place)

    def _read(self, key: str, place: Place) -> Record | None:
        try:
            record = Record.model_validate_json(limits.read_whole(place / RECORD, limits.RECORD))
            check(record, key, place)
        except NotADirectoryError:
            return None
        except FileNotFoundError:
            self._report(place, f"{RECORD} is missing")
        except DataError as error:
            self._report(place, str(error))
        except UNREADABLE as error:
            self._report(place, f"{RECORD}: {' '.join(str(error).split())[:200]}")
        else:
            return record
        return None

    def records(self) -> list[Record]:
        """All records that can be read, ordered by key.

        Raises:
            DataError: an archive cannot be read.
        """
        return list(self.each())

    def each(self) -> Iterator[Record]:
        """The same one by one: thousands of them take hundreds of megabytes.

        Raises:
            DataError: an archive cannot be read.
        """
        places = {
            place.name: place
            for root in reversed(self._roots)
            if root.is_dir()
            for place in root.iterdir()
            if _KEY.fullmatch(place.name)
        }
        found = (self._read(key, places[key]) for key in sorted(places))
        yield from (record for record in found if record is not None)

    def ranks(self, key: str, seen: Seen = "rank") -> Ids:
        """The target's rank for every test example, int32 [R_test].

        Args:
            key: of the record.
            seen: whether items that the user had before are ranked.

        Raises:
            DataError: the record has no such ranks, or they cannot be read.
        """
        place = self.place(key) or self.folder / key
        try:
            return read_ranks(place / (RANKS if seen == "rank" else MASKED_RANKS))
        except DataError as error:
            raise DataError(f"{place}: {error}") from error

    def users(self, data_fingerprint: str) -> Ids | None:
        """Users of the test examples, int32 [R_test]; None where they are not stored, or damaged.

        Paired tests treat the examples of one user as one observation; a report reads no dataset.
        """
        place = self.place(USERS, f"{data_fingerprint}.npy")
        if place is None:
            return None
        try:
            return read_users(place)
        except DataError as error:
            self._warn(
                place.name,
                f"ignored {place}: {error}. `bench run` of its dataset writes it again",
            )
            return None

    def write_users(self, data_fingerprint: str, users: Ids) -> None:
        """Store the users of the test examples, int32 [R_test], in place of what is there.

        Safe to call from several processes: the file appears whole, and its content depends on
        its name alone.

        Raises:
            ConfigError: the results folder cannot be written to.
        """
        path = self.folder / USERS / f"{data_fingerprint}.npy"
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, lambda stream: np.save(stream, np.asarray(users, dtype=np.int32)))

    def write(
        self,
        record: Record,
        outcome: Outcome | None = None,
        curve: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Keep a record, with the arrays and logs of its outcome; a failure with its curve.

        A success is never replaced: a second writer of the same key has computed the same. But
        one without masked ranks is by one that has them, and so is a failure, or a folder that
        cannot be read.

        Raises:
            ConfigError: the folder cannot be written to; the disk may be full.
        """

        def fill(folder: Path) -> None:
            if outcome is not None:
                _write_outcome(folder, outcome)
            _write_curve(folder, curve if outcome is None else outcome.curve)
            text = json.dumps(record.model_dump(mode="json"), indent=2, allow_nan=False)
            (folder / RECORD).write_text(text + "\n", encoding="utf-8")

        self.put(record.key, fill, masks=outcome is not None and outcome.masked_ranks is not None)

    def put(self, key: str, fill: Callable[[Path], object], *, masks: bool = False) -> None:
        """Let `fill` write the files of a record into a folder, which is then put in its place.

        A success is never replaced, unless it lacks masked ranks and `fill` writes them (`masks`).
        Where locks do not hold between machines, two may write one record at a time: either may
        remove what the other is writing, or be there first. Both try again, and one record stays.

        Raises:
            ConfigError: the folder cannot be written to.
        """
        for left in reversed(range(ATTEMPTS)):
            existing = self.get(key)
            completes = masks and self.place(key, MASKED_RANKS) is None
            if existing is not None and existing.is_done and not completes:
                return
            try:
                with self._writing() as place, replaced(self.folder / key, place) as folder:
                    fill(folder)
                return
            except NotWritten:
                if not left:
                    raise
                time.sleep(random.uniform(0, 0.1))  # noqa: S311 - so that one of two is first

    @contextlib.contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Try to be the only process that works on `key`; yields whether that is granted.

        Never waits. The claim ends with the block or with the process, however that dies. What a
        killed writer of the key left behind is removed.

        Raises:
            ConfigError: the folder cannot be written to.
        """
        path = self._claim_file(key)
        with contextlib.ExitStack() as stack:
            with self._writing():
                path.parent.mkdir(parents=True, exist_ok=True)
                granted = stack.enter_context(locks.attempted(path))
                if granted:
                    sweep(self.folder, key)
            yield granted

    def state_file(self, key: str) -> Path:
        """Where the state of a trial lies while it has no record (`bench.execution.states`)."""
        return self.folder / STATES / key

    def remove_state(self, key: str) -> None:
        """Remove the state of a trial, and what killed writers of it left."""
        folder = self.state_file(key).parent
        with contextlib.suppress(OSError):
            for path in folder.glob(f"*{key}*"):
                path.unlink(missing_ok=True)
            folder.rmdir()  # which fails as long as there are others

    def sweep(self) -> None:
        """Remove what writers that were killed left: states of trials that are done, scratch."""
        for folder in (self.folder, self.folder / USERS, self.folder / PLANS):
            swept(folder)
        for key in filter(_KEY.fullmatch, left_behind(self.folder)):
            with contextlib.suppress(ConfigError), self.claim(key):  # who may not write leaves it
                pass  # the claim removes it, unless somebody writes it now
        with contextlib.suppress(OSError):  # mostly there is no such folder
            names = [path.name for path in (self.folder / STATES).iterdir()]
            for key in {found[0] for name in names if (found := _KEY.search(name))}:
                record = self.get(key)
                if record is not None and record.is_done:
                    self.remove_state(key)

    def claimed_by(self, key: str) -> str:
        """Which process works on `key` and since when, in brackets; empty where none says so."""
        return locks.holder(self._claim_file(key))

    def _claim_file(self, key: str) -> Path:
        return self.folder / CLAIMS / key

    def check_writable(self) -> None:
        """Try to write; called before hours of training rather than after.

        Raises:
            ConfigError: the folder cannot be made or written to.
        """
        probe = self.folder / f".probe.{uuid.uuid4().hex[:8]}"
        try:
            with self._writing():
                probe.mkdir(parents=True)
                (probe / "file").write_bytes(b"")
        finally:
            shutil.rmtree(probe, ignore_errors=True)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[str]:
        """Raise what goes wrong within as errors about the results folder; yields its name."""
        if self.folder.suffix == SUFFIX and self.folder.is_file():
            raise ConfigError(
                f"{self.folder} is an archive of records, which is read-only: unzip it into a "
                "folder, or name another"
            )
        place = f"results folder {self.folder}"
        with writing_to(place):
            yield place

    def _report(self, place: Place, problem: str) -> None:
        self._warn(
            place.name,
            f"ignored the record in {place}: {problem}. The same `bench run` makes it again; to be "
            "rid of it, remove its folder",
        )

    def _warn(self, about: str, message: str) -> None:
        if about not in self._reported:
            self._reported.add(about)
            _logger.warning("%s", message)


def _write_outcome(folder: Path, outcome: Outcome) -> None:
    np.save(folder / RANKS, np.asarray(outcome.ranks, dtype=np.int32))
    if outcome.masked_ranks is not None:
        np.save(folder / MASKED_RANKS, np.asarray(outcome.masked_ranks, dtype=np.int32))
    if outcome.log:
        lines = (json.dumps(without_nan(line), allow_nan=False) for line in outcome.log)
        (folder / LOG).write_text("\n".join(lines) + "\n", encoding="utf-8")
    if outcome.state:
        _save_state(folder / STUDENT, outcome.state)


def _write_curve(folder: Path, curve: Sequence[Mapping[str, Any]]) -> None:
    if not curve:
        return
    columns = list(dict.fromkeys(key for epoch in curve for key in epoch))
    with (folder / CURVE).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writerow({name: for_spreadsheet(name) for name in columns})
        writer.writerows(curve)


def _save_state(path: Path, state: dict[str, Any]) -> None:
    from safetensors.numpy import save

    # `save_file` would make a file that its owner alone may read.
    path.write_bytes(save({name: np.ascontiguousarray(value) for name, value in state.items()}))
