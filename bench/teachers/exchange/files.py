"""The files of an import, and how they are to be understood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data.examples import PreparedData
from bench.errors import ArtifactError, ConfigError, DataError
from bench.signals import BINARY
from bench.teachers import rules
from bench.teachers.exchange.evaluation import Evaluation
from bench.teachers.exchange.listing import SPLITS, Value
from bench.teachers.exchange.naming import ItemOrder, Key, catalogue_order, read_order
from bench.teachers.exchange.sources import ARRAYS, known_roles
from bench.teachers.manifest import MANIFEST, TeacherManifest, read_manifest
from bench.teachers.reading import read_array
from bench.teachers.rules import Array


@dataclass(frozen=True)
class Request:
    """What is imported and how it is to be understood.

    Attributes:
        paths: files and folders, each `PATH` or `ROLE=PATH` with a role of `ROLES`.
        items: file with the order of the items of arrays; None: that of the catalogue.
        item_key: what names of items are; None: tokens, unless integers could be both.
        id_base: base of integer ids; None: what the ids themselves prove.
        value: what accompanies lists, where their files do not say; arrays: None is a distance.
        list_length: K_T; None: as long as they come, 100 for values of the catalogue.
    """

    paths: Sequence[str]
    items: Path | None = None
    item_key: Key | None = None
    id_base: int | None = None
    value: Value | None = None
    list_length: int | None = None


@dataclass(frozen=True)
class Lists:
    """The lists that a source has for training rows, and what it says of rows of evaluation.

    Attributes:
        ids: int32 [R, K_T], ids 1..N, best first, with filler where there is no list; None where
            there is none at all.
        distances: float32 [R, K_T], ascending, or None.
        covered: bool [R], where there is a list; None: everywhere.
        evaluations: by split of evaluation, what its lists measure.
    """

    ids: NDArray[np.int32] | None = None
    distances: NDArray[np.float32] | None = None
    covered: Array | None = None
    evaluations: dict[str, Evaluation] = field(default_factory=dict)


@dataclass
class ImportedFiles:
    """The files of an import, and what is known of them.

    Attributes:
        request: how they are to be understood.
        sources: the file of each role.
        data: the examples and the catalogue that they are about.
        report: what a reader of the import must know, line by line.
        notes: what a reader of the teacher must know.
        manifest: what a `teacher.json` beside the files declares; None without one.
        order: that of the items in arrays.
    """

    request: Request
    sources: dict[str, Path]
    data: PreparedData
    report: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    manifest: TeacherManifest | None = field(init=False)
    order: ItemOrder = field(init=False)

    def __post_init__(self) -> None:
        self.check_combination()
        self.manifest = self.declared()
        self.order = self.item_order()
        self.report += self.order.report

    def check_combination(self) -> None:
        """Raises: ConfigError: the files, or the options, do not go together."""
        lists = [role for role in ("table", "rankings", "rank", "dist") if role in self.sources]
        if len(lists) > 1 and lists != ["rank", "dist"]:
            raise ConfigError(f"lists come from one source: {' and '.join(lists)} were given")
        if "distances" in self.sources and "rankings" not in self.sources:
            raise ConfigError(
                f"{self.sources['distances']}: distances belong to listed items, and no file is "
                "'rankings' (values of the whole catalogue: dist=PATH)"
            )
        vectors = {role for role, signal in ARRAYS.items() if signal.shape.endswith("D")}
        of_examples = {role for role in vectors if ARRAYS[role].index == "examples"}
        if "covered" in self.sources and not {"rankings", *of_examples} & self.sources.keys():
            raise ConfigError(f"{self.sources['covered']}: no file is 'rankings', which it covers")
        evaluated = {f"{split}-rankings" for split in SPLITS[1:]} & self.sources.keys()
        if evaluated and "table" in self.sources:
            raise ConfigError("a table holds the lists of all splits: give no others beside it")
        if not {*lists, *vectors, *evaluated} & self.sources.keys():
            raise ConfigError(f"neither embeddings nor lists were given. {known_roles()}")
        for option, needs in (
            ("list_length", lists),
            ("value", [role for role in lists if role in ("table", "rankings")]),
        ):
            if getattr(self.request, option) is not None and not needs:
                raise ConfigError(f"--{option.replace('_', '-')} concerns none of these files")

    def declared(self) -> TeacherManifest | None:
        """The manifest beside the files, if there is one.

        Raises:
            ConfigError: the files are in the suite's own layout.
            ArtifactError: the manifest is of other data, or cannot be understood.
        """
        if "manifest" not in self.sources:
            return None
        folder = self.sources.pop("manifest").parent
        if any((folder / name).is_file() for name in BINARY):
            raise ConfigError(
                f"{folder} is in the suite's own layout already: `bench teacher check {folder}` "
                "checks it, and it may simply be copied to the folder of the dataset's teachers"
            )
        manifest = read_manifest(folder)
        problems = list(rules.made_for(manifest, self.data))
        if problems:
            raise ArtifactError(str(folder), problems)
        return manifest

    def item_order(self) -> ItemOrder:
        """The order of the items in arrays, from its file or that of the catalogue.

        Raises:
            DataError: the file of the order cannot be understood.
        """
        if self.request.items is None:
            return catalogue_order(self.data)
        return read_order(self.request.items, self.data, self.request.item_key or "token")

    def array(self, role: str) -> Array:
        """The array in the file of a role.

        Raises:
            Unreadable: it does not hold what this role holds.
        """
        holds = ARRAYS[role].holds if role in ARRAYS else "numbers"
        return read_array(self.sources[role], holds, mapped=True, keep=False)

    def of_examples(self, role: str) -> Array:
        """An array with an entry for every training example, [R] or [R, D].

        Text has a vector as a table of one column.

        Raises:
            DataError: it has another shape.
        """
        values, rows = self.array(role), len(self.data.train)
        wanted = [str(rows), *ARRAYS[role].shape.split()[1:]]
        if len(wanted) == 1 and values.shape == (rows, 1):
            values = values[:, 0]
        if values.ndim != len(wanted) or len(values) != rows:
            hint = rules.count_hint(len(values), self.data) if values.ndim else ""
            raise DataError(
                f"{self.sources[role].name} has shape {values.shape}, expected "
                f"[{', '.join(wanted)}]{hint}"
            )
        return values

    def of_items(self, role: str) -> Array:
        """An array with an entry for every item, in the order of the catalogue.

        Raises:
            DataError: it has another shape than its order.
        """
        table, name = self.array(role), self.sources[role].name
        if self.request.items is None:
            self.on_trust(f"the {role} are in the order of the catalogue")
            return np.asarray(table)
        if table.ndim != len(ARRAYS[role].shape.split()) or len(table) != len(self.order):
            raise DataError(
                f"{name} has shape {table.shape}, its item order {len(self.order):,} items"
            )
        return np.asarray(table[self.order.place])

    def measured(self, split: str, evaluation: Evaluation) -> None:
        """Say what the metrics of a split are."""
        self.notes.append(evaluation.note(split))
        self.report.append(evaluation.note(split))

    def on_trust(self, what: str) -> None:
        """Note what nothing in the files proves."""
        self.notes.append(f"Taken on trust: {what}.")
        self.report.append(f"taken on trust: {what}")

    def base(self) -> int | None:
        """The base of integer ids, where it is said.

        Raises:
            ConfigError: request and manifest say different ones.
        """
        declared = None if self.manifest is None else self.manifest.id_base
        asked = self.request.id_base
        if None not in (declared, asked) and declared != asked:
            raise ConfigError(f"--id-base {asked}, but {MANIFEST} declares {declared}")
        return declared if asked is None else asked

    def check_list_per_example(self, table: Array, name: str) -> None:
        """Raises: DataError: a table is not [R, K], a list for every training row."""
        rows = len(self.data.train)
        if table.ndim != 2 or 0 in table.shape:
            raise DataError(f"{name} has shape {table.shape}, expected [{rows}, K]")
        if len(table) != rows:
            raise DataError(
                f"{name} has {len(table):,} rows, the training split of {self.data.dataset} "
                f"({self.data.protocol}) has {rows:,}{rules.count_hint(len(table), self.data)}"
            )
