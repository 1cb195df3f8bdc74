"""Open a teacher's folder: every array checked against the data, all problems told at once.

Two layouts are read. The suite's own: `teacher.json` beside `embeddings.safetensors`,
`rankings.npy`, `distances.npy`, `truth_distance.npy`, `covered.npy`, `trajectories.npy`. And
DLLM2Rec's:
`all_embeddings.pt`, `myrank_train.txt`, `confidence_train.txt`, with a manifest or without. Where
a folder has both forms of an array, the binary one is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.data.examples import Ids, PreparedData
from bench.files import sha256_of
from bench.teachers import files, rules
from bench.teachers.manifest import TeacherManifest, read_manifest
from bench.teachers.reading import (
    Unreadable,
    map_npy,
    read_npy,
    read_safetensors,
    read_tensor,
    read_text,
)
from bench.teachers.rules import Array, Told, told_by


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


def check(folder: Path, data: PreparedData) -> Checked:
    """Read and check everything in a folder, without stopping at the first problem.

    Raises:
        ArtifactError: there is no teacher, or its manifest cannot be understood.
    """
    return _read(folder, data, _Reader.read_knowledge, _Reader.read_test_ranks)


def check_knowledge(folder: Path, data: PreparedData) -> Checked:
    """Read and check what methods learn from; of the test rows nothing is opened.

    Raises:
        ArtifactError: there is no teacher, or its manifest cannot be understood.
    """
    return _read(folder, data, _Reader.read_knowledge)


def check_test_ranks(folder: Path, data: PreparedData) -> Checked:
    """Read and check the ranks of the test targets alone.

    Raises:
        ArtifactError: there is no teacher, or its manifest cannot be understood.
    """
    return _read(folder, data, _Reader.read_test_ranks)


def _read(folder: Path, data: PreparedData, *parts: Callable[[_Reader], None]) -> Checked:
    checked = Checked(read_manifest(folder))
    reader = _Reader(folder, data, checked)
    for part in parts:
        part(reader)
    return checked


class _Reader:
    """One pass over a folder; notes what it finds in `checked`."""

    def __init__(self, folder: Path, data: PreparedData, checked: Checked) -> None:
        self.folder = folder
        self.data = data
        self.checked = checked
        self.signals = set(checked.manifest.signals)

    def read_knowledge(self) -> None:
        # Bare files declare nothing; the manifest they imply has the name of their folder.
        if self.has(files.MANIFEST):
            self.keeps(rules.made_for(self.checked.manifest, self.data))
        self.hashes()
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

    def problem(self, text: str) -> None:
        self.checked.problems.append(text)

    def keeps(self, problems: Iterable[str]) -> bool:
        """Note what breaks a rule; whether nothing does."""
        found = list(problems)
        self.checked.problems += found
        return not found

    def has(self, name: str) -> bool:
        return (self.folder / name).is_file()

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
        if not self.keeps(rules.one_value_a_row(ranks, files.TEST_RANKS, rows)):
            return
        if (ranks < 1).any() or (ranks > n).any():
            self.problem(
                f"{files.TEST_RANKS} holds {ranks.min()}..{ranks.max()}; a rank among {n} items "
                f"is 1..{n}"
            )
        else:
            self.checked.test_ranks = ranks.astype(np.int32)

    def hashes(self) -> None:
        for name, digest in self.checked.manifest.files.items():
            if self.has(name) and sha256_of(self.folder / name) != digest:
                self.problem(f"{name} is not the file that {files.MANIFEST} describes (SHA-256)")
        # Any other file is missed when its signal is read.
        if files.COVERED in self.checked.manifest.files and not self.has(files.COVERED):
            self.problem(f"{files.COVERED} is missing, which {files.MANIFEST} lists")

    def coverage(self, covered: Array | None) -> Array | None:
        if covered is None:
            return None
        if not self.keeps(rules.one_value_a_row(covered, files.COVERED, len(self.data.train))):
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
        self.keeps(rules.finite(told_by(table), "the embeddings"))
        return table.astype(np.float32, copy=False)

    def rankings(self, listed: Array | None) -> Array | None:
        if listed is None or not self.is_list_table(listed, "the ranked lists"):
            return None
        told = self.told(listed)
        if not self.keeps(rules.whole_numbers(told)):
            return None
        base, declared = self.checked.manifest.id_base, self.has(files.MANIFEST)
        assert base is not None  # noqa: S101 - the manifest's own check
        self.keeps(rules.ids_in_range(told, base, self.data.n_items, declared=declared))
        self.keeps(rules.no_item_twice(told))
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

    def distances(self, table: Array | None, listed: Array | None) -> Array | None:
        if table is None or not self.is_list_table(table, "the distances"):
            return None
        if listed is not None and listed.ndim == 2 and listed.shape != table.shape:
            self.problem(f"the distances have shape {table.shape}, the ranked lists {listed.shape}")
        distances = table.astype(np.float32)
        told = self.told(distances)
        if self.keeps(rules.finite(told, "the distances")):
            self.keeps(rules.ascending(told))
            self.keeps(
                rules.none_negative(
                    told, "the distances hold negative values; scores are not distances"
                )
            )
        return self.silenced(distances, told)

    def truth_distance(self, values: Array | None) -> Array | None:
        if values is None:
            return None
        name, rows = files.TRUTH_DISTANCE, len(self.data.train)
        hint = rules.count_hint(len(values), self.data) if values.ndim == 1 else ""
        if not self.keeps(rules.one_value_a_row(values, name, rows, hint)):
            return None
        values = values.astype(np.float32)
        told = self.told(values)
        if self.keeps(rules.finite(told, name)):
            self.keeps(rules.none_negative(told, f"{name} holds negative values"))
        return self.silenced(values, told)

    def silenced(self, values: Array, told: Told) -> Array:
        """Values with 0 where the teacher is silent."""
        if told.values is not values:
            values[~self.checked.covered] = 0.0  # type: ignore[operator]
        return values

    def trajectories(self, lists: Array | None) -> Array | None:
        if lists is None:
            return None
        if self.keeps(rules.trajectory_shape(lists, self.data)):
            self.keeps(rules.trajectory_ids(lists, self.data.n_items))
        self.keeps(rules.trajectory_names(lists, self.checked.manifest.members))
        return lists

    def is_list_table(self, table: Array, what: str) -> bool:
        """Whether it can be looked at further; another number of rows is noted alone."""
        if not self.keeps(rules.lists(table, what, self.data)):
            return False
        self.keeps(rules.one_list_a_row(table, what, self.data))
        return True

    def told(self, table: Array) -> Told:
        return told_by(table, self.checked.covered)
