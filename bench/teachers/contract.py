"""Open a teacher's folder: every array checked against the data, all problems reported at once.

Two layouts are read. The suite's own: `teacher.json` beside the files that `bench.signals` names.
And DLLM2Rec's (`all_embeddings.pt`, `myrank_train.txt`, `confidence_train.txt`), with a manifest or
without. Where a folder has both forms of an array, the binary one is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data.examples import Ids, PreparedData
from bench.errors import ArtifactError
from bench.files import sha256_of
from bench.signals import COVERED, MASKED_TEST_RANKS, SIGNALS, TEST_RANKS, Signal, Signals
from bench.teachers import rules
from bench.teachers.manifest import MANIFEST, TeacherManifest, read_manifest
from bench.teachers.reading import Unreadable, read_array
from bench.teachers.rules import Array, CoveredRows, covered_rows


@dataclass(frozen=True, kw_only=True)
class Checked(Signals[Array]):
    """The arrays of a folder as far as they can be used, and what is wrong with them.

    Attributes:
        manifest: what the folder says it is.
        test_ranks: int32 [R_test], 1..N, or None.
        masked_test_ranks: the same without the items that users had before, or None.
        problems: sentences; empty if everything is in order.
    """

    manifest: TeacherManifest
    test_ranks: Ids | None = None
    masked_test_ranks: Ids | None = None
    problems: list[str]

    def or_raise(self, where: object) -> Checked:
        """Itself.

        Raises:
            ArtifactError: it has problems; lists all of them.
        """
        if self.problems:
            raise ArtifactError(str(where), self.problems)
        return self


def check(
    folder: Path, data: PreparedData, *, knowledge: bool = True, test_ranks: bool = True
) -> Checked:
    """Read and check a folder, without stopping at the first problem.

    Args:
        folder: the teacher's folder.
        data: N items and R training examples that it must be about, in their order.
        knowledge: whether what methods learn from is read.
        test_ranks: whether the ranks of the test targets are.

    Raises:
        ArtifactError: there is no teacher, or its manifest cannot be understood.
    """
    reader = _Reader(folder, data, read_manifest(folder))
    arrays = reader.knowledge() if knowledge else {}
    if test_ranks:
        arrays |= reader.test_ranks()
    return Checked(manifest=reader.manifest, problems=reader.problems, **arrays)


class _Reader:
    """One pass over a folder; notes what it finds in `problems`."""

    def __init__(self, folder: Path, data: PreparedData, manifest: TeacherManifest) -> None:
        self.folder = folder
        self.data = data
        self.manifest = manifest
        self.problems: list[str] = []
        self.covered: Array | None = None
        self.shapes: dict[str, tuple[int, ...]] = {}

    def knowledge(self) -> dict[str, Array | None]:
        """What methods learn from, by attribute of `Signals`."""
        # Bare files declare nothing; the manifest they imply has the name of their folder.
        if self.has(MANIFEST):
            self.keeps(rules.made_for(self.manifest, self.data))
        self.hashes()
        self.covered = self.coverage()
        found = {
            signal.attribute: self.signal(signal)
            for signal in SIGNALS.values()
            if signal.name in self.manifest.signals
        }
        return {COVERED.attribute: self.covered, **found}

    def test_ranks(self) -> dict[str, Ids | None]:
        """The teacher's own ranking of the test targets, by attribute of `Checked`."""
        ranked, masked = self.ranks(TEST_RANKS), self.ranks(MASKED_TEST_RANKS)
        if ranked is not None and masked is not None:
            self.keeps(rules.masked_ranks(MASKED_TEST_RANKS, ranked, masked))
        return {"test_ranks": ranked, "masked_test_ranks": masked}

    def ranks(self, signal: Signal) -> Ids | None:
        if not self.has(signal.file):
            return None
        declared = {**self.manifest.ranks, **self.manifest.files}
        if not self.is_as_declared(signal.file, declared):
            return None
        ranks = self.array(signal)
        if ranks is None or not self.keeps(rules.ranks(signal, ranks, self.data.n_items)):
            return None
        return ranks.astype(np.int32)

    def has(self, name: str) -> bool:
        return (self.folder / name).is_file()

    def keeps(self, problems: Iterable[str]) -> bool:
        """Note what breaks a rule; whether nothing does."""
        found = list(problems)
        self.problems += found
        return not found

    def is_as_declared(self, name: str, digests: Mapping[str, str]) -> bool:
        """Whether a file that is there is the one that the manifest describes, if it does."""
        if name not in digests or sha256_of(self.folder / name) == digests[name]:
            return True
        problem = f"{name} is not the file that {MANIFEST} describes (SHA-256)"
        if problem not in self.problems:
            self.problems.append(problem)
        return False

    def hashes(self) -> None:
        for name in self.manifest.files:
            if self.has(name):
                self.is_as_declared(name, self.manifest.files)
        # Any other file is missed when its signal is read.
        if COVERED.file in self.manifest.files and not self.has(COVERED.file):
            self.problems.append(f"{COVERED.file} is missing, which {MANIFEST} lists")

    def coverage(self) -> Array | None:
        covered = self.array(COVERED) if self.has(COVERED.file) else None
        if covered is None or len(covered) != len(self.data.train):
            return None
        if not covered.any():
            self.problems.append(f"{COVERED.file} covers no row at all")
        return covered

    def array(self, signal: Signal) -> Array | None:
        """What a file holds, if it has the number of dimensions that it should have."""
        try:
            array = read_array(self.path(signal), signal.holds, signal.attribute, signal.mapped)
        except Unreadable as error:
            self.problems.append(str(error))
            return None
        self.shapes[signal.name] = array.shape
        self.keeps(rules.shape(signal, array, self.data))
        return array if array.ndim == len(signal.shape.split()) and array.size else None

    def path(self, signal: Signal) -> Path:
        """The file of a signal in either layout.

        Raises:
            Unreadable: neither is there.
        """
        names = [signal.file, *([signal.published] if signal.published else [])]
        for name in names:
            if self.has(name):
                return self.folder / name
        missing, *other = reversed(names)
        raise Unreadable(f"{missing}{f' (or {other[0]})' if other else ''} is missing")

    def signal(self, signal: Signal) -> Array | None:
        """The array of a signal as methods get it; its filler is in range."""
        array = self.array(signal)
        if signal.lists is not None:
            self.goes_with(signal, SIGNALS[signal.lists])
        if array is None:
            return None
        if signal.mapped:
            members = self.manifest.members
            self.keeps(rules.mapped_ids(signal, array, members, self.data.n_items))
            return array
        mask = self.covered if signal.index == "examples" else None
        if signal.holds_ids:
            return self.ids(signal, covered_rows(array, mask), array.shape)
        values = array.astype(signal.dtype, copy=False)
        rows = covered_rows(values, mask)
        if self.keeps(rules.finite(signal, rows)):
            if signal.ascending:
                self.keeps(rules.ascending(signal, rows))
            if signal.non_negative:
                self.keeps(rules.non_negative(signal, rows))
        if rows.values is not values:
            values[~mask] = 0  # type: ignore[operator]
        return values

    def goes_with(self, signal: Signal, lists: Signal) -> None:
        """Note values that are not those of the items of `lists`."""
        own, theirs = self.shapes.get(signal.name), self.shapes.get(lists.name)
        if lists.name not in self.manifest.signals:
            self.problems.append(
                f"the signal '{signal.name}' needs the signal '{lists.name}' beside it"
            )
        elif own and theirs and own != theirs and len(own) == len(theirs):
            self.problems.append(f"{signal.has} shape {own}, {lists.words} {theirs}")

    def ids(self, signal: Signal, rows: CoveredRows, shape: tuple[int, ...]) -> Array | None:
        """Lists of ids 1..N, with valid filler where the teacher has none."""
        if not self.keeps(rules.whole_numbers(signal, rows)):
            return None
        base, n_items = self.manifest.id_base, self.data.n_items
        assert base is not None  # noqa: S101 - the manifest's own check
        self.keeps(rules.ids_in_range(signal, rows, base, n_items, declared=self.has(MANIFEST)))
        self.keeps(rules.no_item_twice(signal, rows))
        ids = np.tile(np.arange(1, shape[1] + 1, dtype=signal.dtype), (shape[0], 1))
        ids[rows.row] = rows.values.astype(signal.dtype) + 1 - base
        return ids
