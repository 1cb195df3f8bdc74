"""Bring a teacher that was made elsewhere: all of it in the suite's layout, or nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench import layers
from bench.data.examples import PreparedData
from bench.errors import ArtifactError, ConfigError, DataError
from bench.evaluation.metrics import metrics_from_ranks
from bench.files import sha256_of
from bench.folders import locked, replaced
from bench.paths import Workspace
from bench.signals import COVERED
from bench.teachers.builder import Product
from bench.teachers.contract import check
from bench.teachers.exchange.given import Given, Lists, Request
from bench.teachers.exchange.ids import from_ids
from bench.teachers.exchange.sources import ARRAYS, locate
from bench.teachers.exchange.table import from_table
from bench.teachers.exchange.values import from_values
from bench.teachers.manifest import PUBLISHED_NAME
from bench.teachers.reading import Unreadable
from bench.teachers.rules import Array
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
    _refuse_name(name, workspace)
    with locked(folder):
        if folder.exists() and not force:
            raise ConfigError(f"{folder} is there already; --force replaces it")
        sources = locate(request.paths, request.items)
        where = ", ".join(map(str, dict.fromkeys(path for path in sources.values())))
        try:
            given = Given(request, sources, data)
            product = _product(given)
        except Unreadable as error:
            raise ArtifactError(where, [str(error)]) from error
        with replaced(folder) as temporary:
            write(temporary, name, KIND, data, product)
            check(temporary, data).or_raise(where)
    return given.report


def _product(given: Given) -> Product:
    """What the files hold."""
    covered = _coverage(given)
    lists = _lists(given, covered)
    if lists is not None:
        covered = lists.covered
    if covered is not None and covered.all():
        covered = None
    product = Product(metrics={}, test_ranks=None, recipe={}, covered=covered, **_arrays(given))
    if lists is not None:
        rows = len(given.data.train)
        count = rows if covered is None else int(covered.sum())
        given.report.append(f"{count:,} of {rows:,} training rows covered ({count / rows:.1%})")
        product = replace(
            product,
            rankings=lists.ids,
            distances=lists.distances,
            metrics={split: metrics_from_ranks(ranks) for split, ranks in lists.ranks.items()},
            test_ranks=lists.ranks.get("test"),
        )
    return _described(given, product)


def _arrays(given: Given) -> dict[str, Any]:
    """The arrays that are no lists and belong to none, by attribute."""
    found: dict[str, Any] = {}
    for role, signal in ARRAYS.items():
        if role not in given.sources or signal is COVERED or signal.holds_ids or signal.lists:
            continue
        table = given.of_items(role) if signal.index == "items" else given.of_examples(role)
        name = given.sources[role].name
        given.report.append(f"{role} {list(table.shape)} {table.dtype} from {name}")
        keep = signal.index == "items"  # in their own precision
        found[signal.attribute] = np.asarray(table, dtype=None if keep else signal.dtype)
    return found


def _lists(given: Given, covered: Array | None) -> Lists | None:
    if "table" in given.sources:
        return from_table(given)
    if "rank" in given.sources or "dist" in given.sources:
        return from_values(given)
    if (role := "rankings") in given.sources:
        return from_ids(given, role, covered)
    return None


def _described(given: Given, product: Product) -> Product:
    """A product with what is known of where it comes from."""
    manifest, request = given.manifest, given.request
    paths = {**given.sources, **({"items": request.items} if request.items else {})}
    recipe: dict[str, Any] = {
        "sources": {
            role: {"name": path.name, "sha256": sha256_of(path)} for role, path in paths.items()
        },
        "options": {
            key: value
            for key, value in vars(request).items()
            if key not in ("paths", "items") and value is not None
        },
        "report": given.report,
    }
    if manifest is None:
        return replace(product, recipe=recipe, notes=given.notes)
    return replace(
        product,
        recipe=recipe | {"declared": manifest.recipe},
        metrics=product.metrics or manifest.metrics,
        notes=[*manifest.notes, *given.notes],
    )


def _coverage(given: Given) -> Array | None:
    if "covered" not in given.sources:
        return None
    covered = given.of_examples("covered")
    if not covered.any():
        raise DataError(
            f"{given.sources['covered'].name} covers no row: where it is False, the teacher has "
            "no list"
        )
    return covered


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
