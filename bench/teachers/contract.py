"""Open a teacher's folder: every array checked against the data, all problems told at once.

Two layouts are read. The suite's own: `teacher.json` beside `embeddings.safetensors`,
`rankings.npy`, `distances.npy`, `truth_distance.npy`, `covered.npy`, `trajectories.npy`. And
DLLM2Rec's:
`all_embeddings.pt`, `myrank_train.txt`, `confidence_train.txt`, with a manifest or without. Where
a folder has both forms of an array, the binary one is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.rows import Ids, PreparedData
from bench.errors import ArtifactError
from bench.files import sha256_of
from bench.teachers import files
from bench.teachers.manifest import TeacherManifest, read_manifest
from bench.teachers.reading import (
    Unreadable,
    map_npy,
    read_npy,
    read_safetensors,
    read_tensor,
    read_text,
)
from methods.base import Knowledge

Array = NDArray[Any]

BLOCK = 1 << 14
"""Rows of a memory-mapped array that are checked at a time."""

CATALOGUE_ORDER = (
    "this looks like one value per item in catalogue order (an argsort of an argsort), not a "
    "list from best to worst: order = argsort(distance); ids = order[:, :K]; distances = "
    "take_along_axis(distance, order, 1)[:, :K]"
)

UNDECLARED_BASE = (
    f"no list names the id 0, so the lists are probably 1-based; without a {files.MANIFEST} they "
    f'would be read as 0-based. Say which in a {files.MANIFEST} beside them: "id_base": 1 (or 0, '
    'if no list names the first item), with "name", "dataset" and "signals": ["embeddings", '
    '"rankings", "confidence"]'
)


@dataclass
class Checked:
    """The arrays of a folder as far as they can be used, and what is wrong with them.

    Attributes:
        manifest: what the folder says it is.
        embeddings: float32 [N, D] or None.
        rankings: int64 [R, K_T], ids 1..N, or None.
        distances: float32 [R, K_T] or None.
        truth_distance: float32 [R] or None.
        covered: bool [R] or None, False where the teacher is silent.
        trajectories: int32 [M, C, R, K_T], ids 1..N, memory-mapped, or None.
        test_ranks: int32 [R_test], 1..N, or None.
        problems: sentences; empty if everything is in order.
    """

    manifest: TeacherManifest
    embeddings: Array | None = None
    rankings: Array | None = None
    distances: Array | None = None
    truth_distance: Array | None = None
    covered: Array | None = None
    trajectories: Array | None = None
    test_ranks: Ids | None = None
    problems: list[str] = field(default_factory=list)


def load_knowledge(folder: Path, data: PreparedData) -> Knowledge:
    """The knowledge of a teacher about the rows and items of `data`, on the CPU.

    Args:
        folder: the teacher's folder.
        data: N items and R training rows that it must speak of, in their order.

    Returns:
        Embeddings float32 [N + 1, D] (row 0 is zero), rankings int64 [R, K_T] with ids 1..N,
        distances float32 [R, K_T], truth_distance float32 [R], covered bool [R], trajectories int32
        [M, C, R, K_T] (memory-mapped); None for a signal that the teacher does not offer. Rows
        that are not covered hold harmless filler.

    Raises:
        ArtifactError: lists everything that breaks the contract.
    """
    import torch

    checked = check(folder, data)
    if checked.problems:
        raise ArtifactError(str(folder), checked.problems)

    def tensor(array: Array | None) -> torch.Tensor | None:
        return None if array is None else torch.from_numpy(np.ascontiguousarray(array))

    embeddings = checked.embeddings
    if embeddings is not None:
        embeddings = np.concatenate([np.zeros_like(embeddings[:1]), embeddings])
    trajectories = checked.trajectories
    return Knowledge(
        target_counts=torch.from_numpy(data.target_counts().astype(np.float32)),
        embeddings=tensor(embeddings),
        rankings=tensor(checked.rankings),
        distances=tensor(checked.distances),
        covered=tensor(checked.covered),
        truth_distance=tensor(checked.truth_distance),
        trajectories=None if trajectories is None else torch.from_numpy(trajectories),
        trajectory_names=() if trajectories is None else tuple(checked.manifest.members),
    )


def load_test_ranks(folder: Path, data: PreparedData) -> Ids | None:
    """The ranks of the test targets under a teacher, int32 [R_test], where it tells them.

    Raises:
        ArtifactError: they are no ranks of the test rows of `data`.
    """
    checked = Checked(read_manifest(folder))
    _Reader(folder, data, checked).read_test_ranks()
    if checked.problems:
        raise ArtifactError(str(folder), checked.problems)
    return checked.test_ranks


def check(folder: Path, data: PreparedData) -> Checked:
    """Read and check everything in a folder, without stopping at the first problem.

    Raises:
        ArtifactError: there is no teacher, or its manifest cannot be understood.
    """
    checked = Checked(read_manifest(folder))
    _Reader(folder, data, checked).read()
    return checked


def refuse_other_data(manifest: TeacherManifest, data: PreparedData) -> list[str]:
    """What a manifest says that is not so of `data`: dataset, catalogue, split."""
    problems = []
    where = f"dataset {data.dataset}, protocol {data.protocol}"
    if manifest.dataset != data.dataset:
        problems.append(f"made for the dataset {manifest.dataset}, not for {where}")
    if manifest.catalogue_fingerprint not in (None, data.catalogue_fingerprint):
        problems.append(
            f"made for another catalogue ({manifest.catalogue_fingerprint}) than that of "
            f"{where} ({data.catalogue_fingerprint}): the items differ, or their order"
        )
    if manifest.split_fingerprint not in (None, data.split_fingerprint):
        problems.append(
            f"made for another split ({manifest.split_fingerprint}) than that of {where} "
            f"({data.split_fingerprint}): its rows are not these rows, and it may have "
            "seen their targets"
        )
    return problems


def count_hint(count: int, data: PreparedData) -> str:
    """What a wrong number of rows may mean."""
    rows = {split: len(getattr(data, split)) for split in ("train", "valid", "test")}
    for more in (("valid",), ("test",), ("valid", "test")):
        together = ("train", *more)
        if count == sum(rows[split] for split in together):
            return (
                f"; as many as {' and '.join(together)} have together: what is told of rows of "
                "evaluation must not be in a teacher"
            )
    for split in ("valid", "test"):
        if count == rows[split]:
            return f"; as many as {split} has: rows of evaluation must not be in a teacher"
    return ""


def _first_row(wrong: Array) -> int:
    """Index of the first row of `wrong`, bool [R, ...], that holds a True."""
    return int(np.unravel_index(np.argmax(wrong), wrong.shape)[0])


@dataclass(frozen=True)
class _Told:
    """What a table says of the rows that the teacher speaks of.

    Attributes:
        values: [R', ...].
        row: int64 [R'], the rows of the table that they are.
    """

    values: Array
    row: NDArray[np.int64]

    def first(self, wrong: Array) -> int:
        """The row of the table that holds the first True of `wrong`, bool [R', ...]."""
        return int(self.row[_first_row(wrong)])


@dataclass
class _Tally:
    """How often trajectories break one rule, and where they do first."""

    count: int = 0
    where: str = ""

    def add(self, wrong: Array, model: int, state: int, start: int) -> None:
        """Args: wrong: bool [B, ...], of rows from `start` on."""
        self.count += int(wrong.sum())
        if not self.where and wrong.any():
            row = start + _first_row(wrong)
            self.where = f"first: model {model}, state {state}, row {row}"


class _Reader:
    """One pass over a folder; notes what it finds in `checked`."""

    def __init__(self, folder: Path, data: PreparedData, checked: Checked) -> None:
        self.folder = folder
        self.data = data
        self.checked = checked
        self.signals = set(checked.manifest.signals)

    def problem(self, text: str) -> None:
        self.checked.problems.append(text)

    def read(self) -> None:
        self.made_for()
        self.hashes()
        self.read_test_ranks()
        if self.has(files.COVERED):
            covered = self.array(lambda: read_npy(self.folder / files.COVERED, "bool"))
            self.checked.covered = self.coverage(covered)
        if "embeddings" in self.signals:
            self.checked.embeddings = self.embeddings(self.array(self.read_embeddings))
        rankings = distances = None
        if "rankings" in self.signals:
            rankings = self.array(lambda: self.rows(files.RANKINGS, files.PUBLISHED_RANKINGS))
        if "confidence" in self.signals:
            distances = self.array(lambda: self.rows(files.DISTANCES, files.PUBLISHED_DISTANCES))
            if "rankings" not in self.signals:
                self.problem("the signal 'confidence' needs the signal 'rankings' beside it")
        self.checked.rankings = self.rankings(rankings)
        self.checked.distances = self.distances(distances, rankings)
        if "truth-distance" in self.signals:
            truth = self.array(lambda: read_npy(self.folder / files.TRUTH_DISTANCE))
            self.checked.truth_distance = self.truth_distance(truth)
        if "trajectories" in self.signals:
            lists = self.array(lambda: map_npy(self.folder / files.TRAJECTORIES))
            self.checked.trajectories = self.trajectories(lists)

    def array(self, read: Callable[[], Array]) -> Array | None:
        try:
            return read()
        except Unreadable as error:
            self.problem(str(error))
            return None

    def rows(self, binary: str, text: str) -> Array:
        if self.has(binary):
            return read_npy(self.folder / binary)
        if self.has(text):
            return read_text(self.folder / text)
        raise Unreadable(f"{text} (or {binary}) is missing")

    def read_embeddings(self) -> Array:
        if self.has(files.EMBEDDINGS):
            table = read_safetensors(self.folder / files.EMBEDDINGS, "embeddings")
            if table.dtype.kind != "f":
                raise Unreadable(f"{files.EMBEDDINGS} holds {table.dtype}, floats expected")
            return table
        if self.has(files.PUBLISHED_EMBEDDINGS):
            return read_tensor(self.folder / files.PUBLISHED_EMBEDDINGS)
        raise Unreadable(f"{files.PUBLISHED_EMBEDDINGS} (or {files.EMBEDDINGS}) is missing")

    def read_test_ranks(self) -> None:
        if not self.has(files.TEST_RANKS):
            return
        ranks = self.array(lambda: read_npy(self.folder / files.TEST_RANKS, "integers"))
        if ranks is None:
            return
        rows, n = len(self.data.test), self.data.n_items
        if ranks.shape != (rows,):
            self.problem(f"{files.TEST_RANKS} has shape {ranks.shape}, expected ({rows},)")
        elif (ranks < 1).any() or (ranks > n).any():
            self.problem(
                f"{files.TEST_RANKS} holds {ranks.min()}..{ranks.max()}; a rank among {n} items "
                f"is 1..{n}"
            )
        else:
            self.checked.test_ranks = ranks.astype(np.int32)

    def made_for(self) -> None:
        # Bare files declare nothing; the manifest they imply has the name of their folder.
        if self.has(files.MANIFEST):
            self.checked.problems += refuse_other_data(self.checked.manifest, self.data)

    def hashes(self) -> None:
        for name, digest in self.checked.manifest.files.items():
            if self.has(name) and sha256_of(self.folder / name) != digest:
                self.problem(f"{name} is not the file that {files.MANIFEST} describes (SHA-256)")
        # Any other file is missed when its signal is read.
        if files.COVERED in self.checked.manifest.files and not self.has(files.COVERED):
            self.problem(f"{files.COVERED} is missing, which {files.MANIFEST} lists")

    def has(self, name: str) -> bool:
        return (self.folder / name).is_file()

    def coverage(self, covered: Array | None) -> Array | None:
        if covered is None:
            return None
        rows = len(self.data.train)
        if covered.shape != (rows,):
            self.problem(f"{files.COVERED} has shape {covered.shape}, expected ({rows},)")
            return None
        if not covered.any():
            self.problem(f"{files.COVERED} covers no row at all")
        return covered

    def embeddings(self, table: Array | None) -> Array | None:
        if table is None:
            return None
        n = self.data.n_items
        if table.ndim != 2 or 0 in table.shape:
            self.problem(f"the embeddings have shape {table.shape}, expected [{n}, D]")
            return None
        if len(table) != n:
            hint = " (a row for padding must not be stored)" if len(table) == n + 1 else ""
            self.problem(f"the embeddings have {len(table)} rows, the catalogue {n} items{hint}")
        self.finite(_Told(table, np.arange(len(table))), "the embeddings")
        return table.astype(np.float32, copy=False)

    def rankings(self, listed: Array | None) -> Array | None:
        if listed is None or not self.is_row_table(listed, "the ranked lists"):
            return None
        told = self.told(listed)
        wrong = ~np.isfinite(told.values) | (told.values != np.floor(told.values))
        if wrong.any():
            self.problem(
                f"the ranked lists hold {int(wrong.sum())} values that are not item ids "
                f"(first in row {told.first(wrong)})"
            )
            return None
        base, n = self.checked.manifest.id_base, self.data.n_items
        assert base is not None  # noqa: S101 - the manifest's own check
        self.id_range(told, base, n)
        self.duplicates(told)
        shift = 1 - base
        if told.values is listed:
            return listed.astype(np.int64) + shift
        return self.filled(listed, shift)

    def filled(self, listed: Array, shift: int) -> Array:
        """Ids with valid filler where the teacher is silent."""
        covered = self.checked.covered
        assert covered is not None  # noqa: S101 - only called with one
        ids = np.broadcast_to(np.arange(1, listed.shape[1] + 1), listed.shape).copy()
        ids[covered] = listed[covered].astype(np.int64) + shift
        return ids

    def id_range(self, told: _Told, base: int, n: int) -> None:
        ids, low, high = told.values, base, n - 1 + base
        outside = (ids < low) | (ids > high)
        if not outside.any():
            if not self.has(files.MANIFEST) and ids.size and ids.min() > 0:
                self.problem(UNDECLARED_BASE)
            return
        row, column = np.unravel_index(np.argmax(outside), outside.shape)
        smallest, largest = int(ids.min()), int(ids.max())
        text = (
            f"the ranked lists hold {int(outside.sum())} ids outside {low}..{high}, which "
            f"id_base {base} and {n} items allow (found {smallest}..{largest}, first in row "
            f"{told.row[row]}, place {column}: {int(ids[row, column])})"
        )
        if 1 - base <= smallest and largest <= n - base:
            text += f"; all of them fit id_base: {1 - base}, which {files.MANIFEST} can declare"
        self.problem(text)

    def duplicates(self, told: _Told) -> None:
        ordered = np.sort(told.values, axis=1)
        repeated = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
        if repeated.any():
            self.problem(
                f"{int(repeated.sum())} of {len(repeated)} ranked lists name an item twice "
                f"(first: row {told.first(repeated)})"
            )

    def distances(self, table: Array | None, listed: Array | None) -> Array | None:
        if table is None or not self.is_row_table(table, "the distances"):
            return None
        if listed is not None and listed.ndim == 2 and listed.shape != table.shape:
            self.problem(f"the distances have shape {table.shape}, the ranked lists {listed.shape}")
        distances = table.astype(np.float32)
        told = self.told(distances)
        if self.finite(told, "the distances"):
            self.monotone(told)
            if (told.values < 0).any():
                self.problem("the distances hold negative values; scores are not distances")
        if told.values is not distances:
            distances[~self.checked.covered] = 0.0  # type: ignore[operator]
        return distances

    def monotone(self, told: _Told) -> None:
        distances = told.values
        falls = np.diff(distances, axis=1) < 0
        falling = falls.any(axis=1)
        if not falling.any():
            return
        text = (
            f"the distances fall along {int(falling.sum())} of {len(distances)} lists (first: row "
            f"{told.first(falls)}); a list runs from best (smallest) to worst"
        )
        if not (np.diff(distances, axis=1) > 0).any():
            text += "; they fall everywhere, as scores do: distances are wanted"
        elif falling.mean() > 0.5:
            text += f"; {CATALOGUE_ORDER}"
        self.problem(text)

    def truth_distance(self, values: Array | None) -> Array | None:
        if values is None:
            return None
        rows = len(self.data.train)
        if values.shape != (rows,):
            hint = count_hint(len(values), self.data) if values.ndim == 1 else ""
            self.problem(
                f"{files.TRUTH_DISTANCE} has shape {values.shape}, expected ({rows},){hint}"
            )
            return None
        told = self.told(values)
        if self.finite(told, files.TRUTH_DISTANCE) and (told.values < 0).any():
            self.problem(f"{files.TRUTH_DISTANCE} holds negative values")
        result = values.astype(np.float32)
        if told.values is not values:
            result[~self.checked.covered] = 0.0  # type: ignore[operator]
        return result

    def trajectories(self, lists: Array | None) -> Array | None:
        """They are used as they lie on the disk: int32, from 1, and good in every row."""
        if lists is None:
            return None
        rows, names = len(self.data.train), self.checked.manifest.members
        if lists.dtype != np.int32:
            self.problem(
                f"{files.TRAJECTORIES} holds {lists.dtype}, int32 expected: it is memory-mapped"
            )
        elif lists.ndim != 4 or 0 in lists.shape:
            self.problem(
                f"{files.TRAJECTORIES} has shape {lists.shape}, expected [M, C, {rows}, K]"
            )
        elif lists.shape[2] != rows:
            self.problem(
                f"{files.TRAJECTORIES} has {lists.shape[2]} rows, the training split of "
                f"{self.data.dataset} ({self.data.protocol}) has {rows}"
                f"{count_hint(lists.shape[2], self.data)}"
            )
        else:
            self.states(lists)
        if lists.ndim == 4 and (len(names) != len(lists) or len(set(names)) != len(names)):
            self.problem(
                f"{files.TRAJECTORIES} holds the lists of {len(lists)} models, {files.MANIFEST} "
                f'must give each a name of its own ("members" is {names})'
            )
        return lists

    def states(self, lists: Array) -> None:
        """Ids in range and none twice, in blocks: the whole may be larger than the memory."""
        outside, repeated = _Tally(), _Tally()
        for model, state in np.ndindex(*lists.shape[:2]):
            for start in range(0, lists.shape[2], BLOCK):
                ids = np.sort(lists[model, state, start : start + BLOCK], axis=1)
                twice = (ids[:, 1:] == ids[:, :-1]).any(axis=1)
                outside.add((ids < 1) | (ids > self.data.n_items), model, state, start)
                repeated.add(twice, model, state, start)
        if outside.count:
            self.problem(
                f"{files.TRAJECTORIES} holds {outside.count} ids outside 1..{self.data.n_items} "
                f"({outside.where}); its ids count from 1 whatever id_base says, and hold for "
                "every row"
            )
        if repeated.count:
            self.problem(
                f"{repeated.count} lists of {files.TRAJECTORIES} name an item twice "
                f"({repeated.where})"
            )

    def is_row_table(self, table: Array, what: str) -> bool:
        rows = len(self.data.train)
        if table.ndim != 2 or table.shape[1] == 0:
            self.problem(f"{what} have shape {table.shape}, expected [{rows}, K]")
            return False
        if len(table) != rows:
            self.problem(
                f"{what} have {len(table)} rows, the training split of {self.data.dataset} "
                f"({self.data.protocol}) has {rows}{count_hint(len(table), self.data)}"
            )
        return True

    def told(self, table: Array) -> _Told:
        """The covered rows of a table; the table itself where all of them are."""
        covered = self.checked.covered
        if covered is None or len(covered) != len(table) or covered.all():
            return _Told(table, np.arange(len(table)))
        return _Told(table[covered], np.flatnonzero(covered))

    def finite(self, told: _Told, what: str) -> bool:
        wrong = ~np.isfinite(told.values)
        if not wrong.any():
            return True
        self.problem(
            f"{what} hold {int(wrong.sum())} values that are NaN or infinite "
            f"(first in row {told.first(wrong)})"
        )
        return False
