"""Bring a teacher that was made elsewhere: all of it in the suite's layout, or nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.config import layers
from bench.data.rows import PreparedData
from bench.errors import ArtifactError, ConfigError, DataError
from bench.evaluation.metrics import metrics_from_ranks
from bench.files import sha256_of
from bench.folders import locked, replaced
from bench.paths import Workspace
from bench.teachers import files
from bench.teachers.builder import Product
from bench.teachers.contract import CATALOGUE_ORDER, check, count_hint, refuse_other_data
from bench.teachers.exchange.listing import (
    SPLITS,
    Listing,
    ListsOfRows,
    Value,
    distances_of,
    read_listing,
    rectangular,
)
from bench.teachers.exchange.naming import (
    ItemOrder,
    Key,
    catalogue_order,
    find_base,
    preference,
    read_order,
)
from bench.teachers.exchange.sources import known_roles, locate
from bench.teachers.manifest import PUBLISHED_NAME, TeacherManifest, read_manifest
from bench.teachers.reading import Holds, Unreadable, read_array
from bench.teachers.writing import write

Array = NDArray[Any]

KIND = "external"
"""Kind of a teacher that no builder made."""

LIST_LENGTH = 100
"""K_T of lists that are made from values of the whole catalogue."""

BLOCK_VALUES = 1 << 24
"""Values of the whole catalogue that are sorted at a time."""

METRICS_AT = 20
"""Shortest list whose place of the target gives the metrics that leaderboards show."""

_HOLDS: dict[str, Holds] = {"embeddings": "floats", "covered": "bool"}


@dataclass(frozen=True)
class Request:
    """What is imported and how it is to be understood.

    Attributes:
        paths: files and folders, each `PATH` or `ROLE=PATH` with a role of `ROLES`.
        items: file that tells the order of the items of arrays; None: that of the catalogue.
        item_key: what names of items are; None: tokens, unless integers could be both.
        id_base: base of integer ids; None: what the ids themselves prove.
        value: what accompanies lists, where their files do not say; arrays: None is a distance.
        list_length: K_T; None: as long as they come, `LIST_LENGTH` for values of the catalogue.
    """

    paths: Sequence[str]
    items: Path | None = None
    item_key: Key | None = None
    id_base: int | None = None
    value: Value | None = None
    list_length: int | None = None


def import_teacher(
    name: str,
    request: Request,
    data: PreparedData,
    workspace: Workspace,
    folder: Path,
    progress: Callable[[str], None],
    force: bool = False,
) -> list[str]:
    """Write a teacher's folder from foreign files, once they pass every check of the contract.

    Args:
        name: what the teacher is to be called.
        request: the files.
        data: the rows and the catalogue that they speak of.
        workspace: whose configured teachers have their names already.
        folder: the teacher's folder, which appears complete or not at all.
        progress: takes one line of text at a time.
        force: replace what is there.

    Returns:
        A report: what was read, how it was understood, what was left out.

    Raises:
        ConfigError: a name that is taken, files whose meaning only the user can tell.
        DataError: files that cannot be read or addressed.
        ArtifactError: what was read breaks the contract; lists every problem.
    """
    _refuse_name(name, workspace)
    with locked(folder, progress):
        if folder.exists() and not force:
            raise ConfigError(f"{folder} is there already; --force replaces it")
        sources = locate(request.paths)
        where = ", ".join(map(str, dict.fromkeys(path for path in sources.values())))
        try:
            product, report = _Import(request, sources, data).product()
        except Unreadable as error:
            raise ArtifactError(where, [str(error)]) from error
        with replaced(folder) as temporary:
            write(temporary, name, KIND, data, product)
            problems = check(temporary, data).problems
            if problems:
                raise ArtifactError(where, problems)
    return report


def best_first(
    values: Array, length: int, preferred: NDArray[np.int64]
) -> tuple[NDArray[np.int32], Array]:
    """Lists of values in catalogue order: one argsort, ties as `preferred` has them.

    Args:
        values: [B, N], the smaller the better.
        length: K_T <= N.
        preferred: the ids 1..N, of tied items the preferred first.

    Returns:
        ids int32 [B, K_T], best first, and their values [B, K_T].
    """
    turned = values[:, preferred - 1]
    order = np.argsort(turned, axis=1, kind="stable")[:, :length]
    return preferred[order].astype(np.int32), np.take_along_axis(turned, order, axis=1)


@dataclass
class _Import:
    """One import: what the files hold becomes a `Product`, line by line of a report.

    Attributes:
        sources: the file of each role.
        report: what a reader of the import must know.
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
        self.refuse_combinations()
        self.manifest = self.declared()
        self.order = self.item_order()
        self.report += self.order.report

    def product(self) -> tuple[Product, list[str]]:
        ranks: dict[str, NDArray[np.int32]] = {}
        rankings = distances = None
        covered = self.coverage()
        if "table" in self.sources:
            rankings, distances, covered, ranks = self.from_table()
        elif "rank" in self.sources or "dist" in self.sources:
            rankings, distances = self.from_catalogue()
        elif "rankings" in self.sources:
            rankings, distances, covered = self.from_lists(covered)
        product = Product(
            metrics={split: metrics_from_ranks(found) for split, found in ranks.items()},
            test_ranks=ranks.get("test"),
            recipe={},
            embeddings=self.embeddings(),
            rankings=rankings,
            distances=distances,
            truth_distance=self.truth_distance(),
            covered=None if covered is None or covered.all() else covered,
        )
        if rankings is not None:
            rows = len(self.data.train)
            told = rows if product.covered is None else int(product.covered.sum())
            self.report.append(f"{told:,} of {rows:,} training rows covered ({told / rows:.1%})")
        return self.described(product), self.report

    def described(self, product: Product) -> Product:
        manifest, request = self.manifest, self.request
        given = {**self.sources, **({"items": request.items} if request.items else {})}
        recipe: dict[str, Any] = {
            "sources": {
                role: {"name": path.name, "sha256": sha256_of(path)} for role, path in given.items()
            },
            "options": {
                key: value
                for key, value in vars(request).items()
                if key not in ("paths", "items") and value is not None
            },
            "report": self.report,
        }
        metrics = product.metrics
        if manifest is not None:
            recipe["declared"] = manifest.recipe
            self.notes[:0] = manifest.notes
            metrics = metrics or manifest.metrics
        return replace(product, recipe=recipe, metrics=metrics, notes=self.notes)

    def refuse_combinations(self) -> None:
        lists = [role for role in ("table", "rankings", "rank", "dist") if role in self.sources]
        if len(lists) > 1 and lists != ["rank", "dist"]:
            raise ConfigError(f"lists come from one source: {' and '.join(lists)} were given")
        if "distances" in self.sources and "rankings" not in self.sources:
            raise ConfigError(
                f"{self.sources['distances']}: distances belong to listed items, and no file is "
                "'rankings' (values of the whole catalogue: dist=PATH)"
            )
        if "covered" in self.sources and "rankings" not in self.sources:
            raise ConfigError(f"{self.sources['covered']}: no file is 'rankings', which it covers")
        if not {*lists, "embeddings"} & self.sources.keys():
            raise ConfigError(f"neither embeddings nor lists were given. {known_roles()}")
        for option, needs in (
            ("list_length", lists),
            ("value", [role for role in lists if role in ("table", "rankings")]),
        ):
            if getattr(self.request, option) is not None and not needs:
                raise ConfigError(f"--{option.replace('_', '-')} concerns none of these files")

    def declared(self) -> TeacherManifest | None:
        """The manifest beside the files, if it is of this dataset."""
        if "manifest" not in self.sources:
            return None
        folder = self.sources.pop("manifest").parent
        if any((folder / name).is_file() for name in files.BINARY):
            raise ConfigError(
                f"{folder} is in the suite's own layout already: `bench teacher check {folder}` "
                "checks it, and it may simply be copied to the folder of the dataset's teachers"
            )
        manifest = read_manifest(folder)
        problems = refuse_other_data(manifest, self.data)
        if problems:
            raise ArtifactError(str(folder), problems)
        return manifest

    def item_order(self) -> ItemOrder:
        if self.request.items is None:
            return catalogue_order(self.data)
        return read_order(self.request.items, self.data, self.request.item_key or "token")

    def array(self, role: str) -> Array:
        return read_array(self.sources[role], _HOLDS.get(role, "numbers"))

    def vector(self, role: str) -> Array:
        """A value for every training row [R]; text has it as a table of one column."""
        values, rows = self.array(role), len(self.data.train)
        if values.shape not in ((rows,), (rows, 1)):
            hint = count_hint(len(values), self.data) if values.ndim else ""
            raise DataError(
                f"{self.sources[role].name} has shape {values.shape}, expected ({rows},){hint}"
            )
        return values.reshape(rows)

    def on_trust(self, what: str) -> None:
        """Note what nothing in the files proves."""
        self.notes.append(f"Taken on trust: {what}.")
        self.report.append(f"taken on trust: {what}")

    def embeddings(self) -> Array | None:
        if "embeddings" not in self.sources:
            return None
        table = self.array("embeddings")
        name = self.sources["embeddings"].name
        if self.request.items is None:
            self.on_trust("the embeddings are in the order of the catalogue")
        elif table.ndim != 2 or len(table) != len(self.order):
            raise DataError(
                f"{name} has shape {table.shape}, its item order {len(self.order):,} items"
            )
        else:
            table = table[self.order.place]
        self.report.append(f"embeddings {list(table.shape)} {table.dtype} from {name}")
        return np.asarray(table)

    def truth_distance(self) -> NDArray[np.float32] | None:
        if "truth-distance" not in self.sources:
            return None
        return np.asarray(self.vector("truth-distance"), dtype=np.float32)

    def coverage(self) -> Array | None:
        if "covered" not in self.sources:
            return None
        covered = self.vector("covered")
        if not covered.any():
            raise DataError(
                f"{self.sources['covered'].name} covers no row: where it is False, the teacher has "
                "no list"
            )
        return covered

    def base(self) -> int | None:
        declared = None if self.manifest is None else self.manifest.id_base
        asked = self.request.id_base
        if None not in (declared, asked) and declared != asked:
            raise ConfigError(f"--id-base {asked}, but {files.MANIFEST} declares {declared}")
        return declared if asked is None else asked

    def from_lists(
        self, covered: Array | None
    ) -> tuple[NDArray[np.int32], NDArray[np.float32] | None, Array | None]:
        """Lists of integer ids, best first, row by row of the training split."""
        name = self.sources["rankings"].name
        listed = np.asarray(self.array("rankings"))
        self.row_table(listed, name)
        values = np.asarray(self.array("distances")) if "distances" in self.sources else None
        if values is not None and values.shape != listed.shape:
            raise DataError(
                f"{self.sources['distances'].name} has shape {values.shape}, {name} {listed.shape}"
            )
        told = slice(None) if covered is None else covered
        used = listed[told]
        if not np.isfinite(used).all() or (used != np.floor(used)).any():
            raise DataError(f"{name} holds values that are no item ids")
        self.refuse_catalogue_order(values, name)
        base, why = find_base(used, len(self.order), self.base(), f"lists of {name}")
        self.report.append(why)
        self.on_trust("the lists are in the order of the training rows")
        places = np.zeros(listed.shape, dtype=np.int64)
        places[told] = used.astype(np.int64) - base
        if self.request.value == "score" and values is not None:
            values = distances_of(values)
            self.report.append("distance = best score of the list - score")
        lists = ListsOfRows(
            np.arange(len(listed))[told],
            self.order.item[places][told].astype(np.int32),
            None if values is None else values[told].astype(np.float64),
        )
        if self.request.items is None and self.request.list_length is None:
            # As they are: whatever is wrong with them is told by the contract's own check.
            ids = _filled(lists, len(listed), listed.shape[1])
            distances = None if values is None else np.ascontiguousarray(values, np.float32)
            return ids, distances, covered
        if self.order.shared:
            raise ConfigError(
                f"{name} names items by their place in an order of titles, and titles repeat: "
                "give the order by token"
            )
        return rectangular(_packed(lists), len(listed), self.request.list_length, self.report, name)

    def from_catalogue(self) -> tuple[NDArray[np.int32], NDArray[np.float32] | None]:
        """BIGRec's arrays: for every row a value of every item, in the order of the items."""
        role = "dist" if "dist" in self.sources else "rank"
        values = self.array(role)
        name = self.sources[role].name
        self.row_table(values, name)
        if values.shape[1] != len(self.order):
            raise DataError(
                f"{name} has {values.shape[1]:,} values a row, and there are {len(self.order):,} "
                "items: it is no value of every item in catalogue order"
            )
        if role == "dist" and "rank" in self.sources:
            self.refuse_other_ranks(values)
        if self.request.items is None:
            self.on_trust(f"the columns of {name} are in the order of the catalogue")
        self.on_trust(f"the rows of {name} are in the order of the training rows")
        length = min(self.request.list_length or LIST_LENGTH, self.data.n_items)
        preferred = preference(self.data)
        ids = np.empty((len(values), length), dtype=np.int32)
        best = np.empty((len(values), length), dtype=np.float32)
        block = max(1, BLOCK_VALUES // values.shape[1])
        for start in range(0, len(values), block):
            part = slice(start, start + block)
            ids[part], best[part] = best_first(
                np.asarray(values[part])[:, self.order.place], length, preferred
            )
        self.report.append(
            f"lists of {length} items: order = argsort({name}), ties by popularity, then token"
        )
        return ids, best if role == "dist" else None

    def refuse_other_ranks(self, dist: Array) -> None:
        """`rank` must be the argsort of the argsort of `dist`; the first rows are looked at."""
        rank = self.array("rank")
        head = min(256, len(dist))
        if rank.shape == dist.shape:
            in_order = np.take_along_axis(
                np.asarray(dist[:head]), np.argsort(rank[:head], axis=1), axis=1
            )
            if (np.diff(in_order, axis=1) >= 0).all():
                return
        raise DataError(
            f"{self.sources['rank'].name} {rank.shape} is not the rank of each value of "
            f"{self.sources['dist'].name} {dist.shape}: they are not of one evaluation"
        )

    def refuse_catalogue_order(self, values: Array | None, name: str) -> None:
        if values is None or values.shape[1] != len(self.order) or len(self.order) < 3:
            return
        if (np.diff(values, axis=1) < 0).any(axis=1).mean() > 0.5 and not (
            self.request.value == "score"
        ):
            raise DataError(
                f"{name} and its distances name every item, and the distances do not grow: "
                f"{CATALOGUE_ORDER}. As rank=PATH and dist=PATH they are converted so"
            )

    def from_table(
        self,
    ) -> tuple[NDArray[np.int32], NDArray[np.float32] | None, Array, dict[str, NDArray[np.int32]]]:
        """A table of lists by keys of rows."""
        request = self.request
        if request.items is not None and "embeddings" not in self.sources:
            raise ConfigError("--items orders arrays, and none was given")
        table, rows = self.sources["table"], len(self.data.train)
        listing = read_listing(table, self.data, request.item_key, request.id_base, request.value)
        self.report += listing.report
        ids, distances, covered = rectangular(
            listing.of["train"], rows, request.list_length, self.report, str(table)
        )
        return ids, distances, covered, self.own_ranks(listing)

    def own_ranks(self, listing: Listing) -> dict[str, NDArray[np.int32]]:
        """Ranks of evaluation targets where every row has a list: N where it does not name them."""
        ranks = {}
        for split in SPLITS[1:]:
            lists, rows = listing.of.get(split), getattr(self.data, split)
            if lists is None or len(lists.row) < len(rows):
                continue
            shortest = int((lists.ids > 0).sum(axis=1).min())
            if shortest < min(METRICS_AT, self.data.n_items):
                continue
            hit = lists.ids == rows.target[lists.row, None]
            found = np.full(len(rows), self.data.n_items, dtype=np.int32)
            found[lists.row[hit.any(axis=1)]] = hit.argmax(axis=1)[hit.any(axis=1)] + 1
            ranks[split] = found
            self.notes.append(
                f"Its ranks on the {split} rows are those of its lists, of {shortest} items or "
                f"more; a target that is not listed counts as rank {self.data.n_items}."
            )
        return ranks

    def row_table(self, table: Array, name: str) -> None:
        rows = len(self.data.train)
        if table.ndim != 2 or 0 in table.shape:
            raise DataError(f"{name} has shape {table.shape}, expected [{rows}, K]")
        if len(table) != rows:
            raise DataError(
                f"{name} has {len(table):,} rows, the training split of {self.data.dataset} "
                f"({self.data.protocol}) has {rows:,}{count_hint(len(table), self.data)}"
            )


def _packed(lists: ListsOfRows) -> ListsOfRows:
    """Lists with the places that name no item moved behind the others."""
    order = np.argsort(lists.ids == 0, axis=1, kind="stable")
    values = lists.values
    return ListsOfRows(
        lists.row,
        np.take_along_axis(lists.ids, order, axis=1),
        None if values is None else np.take_along_axis(values, order, axis=1),
    )


def _filled(lists: ListsOfRows, rows: int, length: int) -> NDArray[np.int32]:
    """A list for every row, with filler where there is none: ids [rows, length]."""
    ids = np.tile(np.arange(1, length + 1, dtype=np.int32), (rows, 1))
    ids[lists.row] = lists.ids
    return ids


def _refuse_name(name: str, workspace: Workspace) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name):
        raise ConfigError(
            f"'{name}' cannot be the name of a teacher: use lower-case letters, digits, '_' and "
            "'-', such as my-llm"
        )
    if name == PUBLISHED_NAME:
        raise ConfigError(
            f"'{name}' stands for bare files that lie in the dataset's own folder; give another"
        )
    if name in layers.names("teachers", workspace):
        raise ConfigError(
            f"'{name}' is a configured teacher, which `bench teacher build` makes; give another"
        )
