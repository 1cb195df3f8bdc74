"""Bring a teacher that was made elsewhere: all of it in the suite's layout, or nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.examples import PreparedData
from bench.errors import ArtifactError, ConfigError, DataError
from bench.files import sha256_of
from bench.folders import locked, replaced
from bench.paths import Workspace
from bench.signals import COVERED
from bench.teachers.builder import Product
from bench.teachers.config import configured
from bench.teachers.contract import check
from bench.teachers.exchange.files import ImportedFiles, Lists, Request
from bench.teachers.exchange.ids import evaluations_of_ids, from_ids
from bench.teachers.exchange.sources import ARRAYS, locate
from bench.teachers.exchange.table import from_table
from bench.teachers.exchange.values import from_values
from bench.teachers.manifest import PUBLISHED_NAME
from bench.teachers.reading import Unreadable
from bench.teachers.rules import Array
from bench.teachers.summary import zeros
from bench.teachers.writing import write

KIND = "external"
"""Kind of a teacher that no builder made."""


def import_teacher(
    name: str,
    request: Request,
    data: PreparedData,
    workspace: Workspace,
    folder: Path,
    force: bool = False,
) -> list[str]:
    """Write a teacher's folder from foreign files, once they pass every check of the contract.

    Args:
        name: what the teacher is to be called.
        request: the files.
        data: the rows and the catalogue that they speak of.
        workspace: whose configured teachers have their names already.
        folder: the teacher's folder, which appears complete or not at all.
        force: replace what is there.

    Returns:
        A report: what was read, how it was understood, what was left out.

    Raises:
        ConfigError: a name that is taken, files whose meaning only the user can tell.
        DataError: files that cannot be read or addressed.
        ArtifactError: what was read breaks the contract; lists every problem.
    """
    _check_name(name, workspace)
    with locked(folder):
        if folder.exists() and not force:
            raise ConfigError(f"{folder} is there already; --force replaces it")
        sources = locate(request.paths, request.items)
        where = ", ".join(map(str, dict.fromkeys(path for path in sources.values())))
        try:
            files = ImportedFiles(request, sources, data)
            product = _product(files)
        except Unreadable as error:
            raise ArtifactError(where, [str(error)]) from error
        with replaced(folder) as temporary:
            write(temporary, name, KIND, data, product)
            check(temporary, data).or_raise(where)
    return files.report


def _product(files: ImportedFiles) -> Product:
    """What the files hold."""
    covered = _coverage(files)
    lists = _evaluated(files, _lists(files, covered))
    if lists is not None and lists.ids is not None:
        covered = lists.covered
    if covered is not None and covered.all():
        covered = None
    product = Product(metrics={}, test_ranks=None, recipe={}, covered=covered, **_arrays(files))
    if lists is not None:
        rows = len(files.data.train)
        count = 0 if lists.ids is None else rows if covered is None else int(covered.sum())
        files.report.append(f"{count:,} of {rows:,} training rows covered ({count / rows:.1%})")
        test = lists.evaluations.get("test")
        if lists.ids is None and test is None:
            raise DataError(f"nothing is told that a method or a board reads: {files.report[-2]}")
        product = replace(
            product,
            rankings=lists.ids,
            distances=lists.distances,
            metrics={split: found.metrics() for split, found in lists.evaluations.items()},
            test_ranks=None if test is None else test.ranks,
            test_places=None if test is None else test.places,
        )
    return _described(files, product)


def _arrays(files: ImportedFiles) -> dict[str, Any]:
    """The arrays that are no lists and belong to none, by attribute."""
    found: dict[str, Any] = {}
    for role, signal in ARRAYS.items():
        if role not in files.sources or signal is COVERED or signal.holds_ids or signal.lists:
            continue
        table = files.of_items(role) if signal.index == "items" else files.of_examples(role)
        name = files.sources[role].name
        files.report.append(f"{role} {list(table.shape)} {table.dtype} from {name}")
        if signal.index == "items" and table.ndim == 2 and len(table) == files.data.n_items:
            files.report += [f"doubt: {text}" for text in zeros(table, files.data)]
        keep = signal.index == "items"  # in their own precision
        found[signal.attribute] = np.asarray(table, dtype=None if keep else signal.dtype)
    return found


def _lists(files: ImportedFiles, covered: Array | None) -> Lists | None:
    if "table" in files.sources:
        return from_table(files)
    if "rank" in files.sources or "dist" in files.sources:
        return from_values(files)
    if (role := "rankings") in files.sources:
        return from_ids(files, role, covered)
    return None


def _evaluated(files: ImportedFiles, lists: Lists | None) -> Lists | None:
    """The same lists with what arrays of rows of evaluation measure."""
    found = evaluations_of_ids(files)
    return replace(lists or Lists(), evaluations=found) if found else lists


def _described(files: ImportedFiles, product: Product) -> Product:
    """A product with what is known of where it comes from."""
    manifest, request = files.manifest, files.request
    paths = {**files.sources, **({"items": request.items} if request.items else {})}
    recipe: dict[str, Any] = {
        "sources": {
            role: {"name": path.name, "sha256": sha256_of(path)} for role, path in paths.items()
        },
        "options": {
            key: value
            for key, value in vars(request).items()
            if key not in ("paths", "items") and value is not None
        },
        "report": files.report,
    }
    if manifest is None:
        return replace(product, recipe=recipe, notes=files.notes)
    return replace(
        product,
        recipe=recipe | {"declared": manifest.recipe},
        metrics=product.metrics or manifest.metrics,
        notes=[*manifest.notes, *files.notes],
    )


def _coverage(files: ImportedFiles) -> Array | None:
    if "covered" not in files.sources:
        return None
    covered = files.of_examples("covered")
    if not covered.any():
        raise DataError(
            f"{files.sources['covered'].name} covers no row: where it is False, the teacher has "
            "no list"
        )
    return covered


def _check_name(name: str, workspace: Workspace) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name):
        raise ConfigError(
            f"'{name}' cannot be the name of a teacher: use lower-case letters, digits, '_' and "
            "'-', such as my-llm"
        )
    if name == PUBLISHED_NAME:
        raise ConfigError(
            f"'{name}' stands for bare files that lie in the dataset's own folder; give another"
        )
    if name in configured(workspace):
        raise ConfigError(
            f"'{name}' is a configured teacher, which `bench teacher build` makes; give another"
        )
