"""Figures about a teacher's arrays, before anything is trained on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.data.examples import PreparedData
from bench.teachers.contract import Checked
from bench.teachers.manifest import TeacherManifest
from bench.teachers.rows import preference
from bench.teachers.rules import Array

SAMPLE_ROWS = 2000
"""Rows on which the slower figures are taken, evenly spread."""


def summarise(checked: Checked, data: PreparedData) -> dict[str, Any]:
    """Figures about knowledge that passed its check.

    Args:
        checked: the result of `contract.check`, without problems.
        data: the examples and items that it is about.

    Returns:
        Plain values: `coverage` (share of examples), `arrays` (type and shape by signal),
        `list_length` (K_T), `embedding_width` (D), `items_with_equal_embeddings`, `distance`
        (quantiles), `targets_in_list` (share of covered examples whose target is in the top 1, 10
        and K_T), `agreement_of_order_and_embeddings` (see `list_agreement`; not there without both,
        or for lists of fewer than 3), `lists_with_ties_out_of_order` (see `ties_out_of_order`),
        `trajectories` (see `_trajectory_figures`), fingerprints, and `doubts`: sentences about what
        is allowed and looks wrong.
    """
    manifest, rows = checked.manifest, len(data.train)
    covered = np.full(rows, bool(manifest.signals)) if checked.covered is None else checked.covered
    result: dict[str, Any] = {
        "name": manifest.name,
        "signals": list(manifest.signals),
        "id_base": manifest.id_base,
        "items": data.n_items,
        "training_rows": rows,
        "covered_rows": int(covered.sum()),
        "coverage": float(covered.mean()),
        "arrays": {
            signal.name: f"{array.dtype} {list(array.shape)}"
            for signal, array in checked.arrays().items()
        },
        "doubts": [],
    }
    for signal, array in checked.arrays().items():
        if signal.index == "items":
            result["embedding_width"] = array.shape[1]
            result["items_with_equal_embeddings"] = len(array) - len(np.unique(array, axis=0))
            result["doubts"] += zeros(array, data)
        elif signal.mapped:
            result[signal.name] = _trajectory_figures(checked.manifest, array, data)
        elif signal.holds_ids:
            result |= _list_figures(array[covered], data.train.target[covered])
        elif signal.ascending:
            result["distance"] = _distance_figures(array[covered])
        elif signal.of_target:
            result[f"{signal.attribute}_mean"] = float(array[covered].mean())
    if checked.rankings is not None:
        compared = _comparison(checked, checked.rankings[covered], covered, data)
        result |= compared | {"doubts": result["doubts"] + compared["doubts"]}
    return result | {
        "fingerprint": manifest.fingerprint,
        "catalogue_fingerprint": manifest.catalogue_fingerprint or "not declared",
        "split_fingerprint": manifest.split_fingerprint or "not declared",
    }


def _list_figures(lists: Array, targets: Array) -> dict[str, Any]:
    hit, size = lists == targets[:, None], lists.shape[1]
    return {
        "list_length": size,
        "targets_in_list": {
            f"top_{k}": float(hit[:, :k].any(1).mean()) for k in sorted({1, min(10, size), size})
        },
        "different_items_listed": len(np.unique(lists)),
    }


def _comparison(
    checked: Checked, lists: Array, covered: Array, data: PreparedData
) -> dict[str, Any]:
    """What lists [R', K] say beside the embeddings and the base of their ids."""
    found: dict[str, Any] = {"doubts": []}
    # A base that the suite wrote itself is no matter of doubt.
    if not checked.manifest.created_by:
        found["doubts"] += _base_doubt(lists, checked.manifest.id_base, data.n_items)
    if checked.embeddings is None:
        return found
    if lists.shape[1] > 2:
        agreement, error = list_agreement(lists, checked.embeddings)
        found["agreement_of_order_and_embeddings"] = agreement
        if agreement < 3 * error:
            found["doubts"].append(
                f"the order of the lists has nothing to do with the embeddings (rank "
                f"correlation {agreement:.3f}, standard error {error:.3f}): they may be of "
                "different teachers, or count items in different orders"
            )
    if checked.distances is not None:
        _, point = np.unique(checked.embeddings, axis=0, return_inverse=True)
        found["lists_with_ties_out_of_order"] = ties_out_of_order(
            lists, checked.distances[covered], point.reshape(-1), preference(data)
        )
    return found


def zeros(embeddings: Array, data: PreparedData) -> list[str]:
    """A doubt about items whose embeddings [N, D] are nothing but zeros."""
    nothing = np.flatnonzero(~embeddings.any(axis=1))
    if not len(nothing):
        return []
    return [
        f"{len(nothing):,} of {len(embeddings):,} embeddings are zeros (first: item "
        f"'{data.item_tokens[nothing[0]]}'): padding, or items that nothing encoded? Nothing can "
        "be learned from them"
    ]


def list_agreement(lists: Array, embeddings: Array) -> tuple[float, float]:
    """Agreement of list order and embedding distance: -1..1, near 0 if unrelated.

    Mean Spearman correlation, over a sample of rows, between an item's place in its list and its
    embedding's distance to that of the list's first item. Lists and embeddings of one teacher that
    are addressed alike agree; about 0 hints at ids of another catalogue or another base.

    Args:
        lists: ids 1..N [R, K_T], K_T >= 3.
        embeddings: float32 [N, D].

    Returns:
        The mean, and its standard error.
    """
    sample = lists[:: max(1, len(lists) // SAMPLE_ROWS)][:SAMPLE_ROWS]
    points = embeddings[sample - 1]
    distance = np.linalg.norm(points[:, 1:] - points[:, :1], axis=2)
    ranks = distance.argsort(axis=1).argsort(axis=1).astype(np.float64)
    place = np.arange(ranks.shape[1], dtype=np.float64)
    centred = place - place.mean()
    correlations = (ranks - place.mean()) @ centred / (centred @ centred)
    return float(correlations.mean()), float(correlations.std() / len(correlations) ** 0.5)


def ties_out_of_order(lists: Array, distances: Array, point: Array, preferred: Array) -> float:
    """Share of lists, of a sample, in which items of one point and distance break the tie rule.

    Items of one title have one embedding; the rule puts them in the order of
    `naming.preference`, so that no teacher gains or loses by chance.

    Args:
        lists: ids 1..N [R, K].
        distances: [R, K].
        point: [N], equal for items of equal embeddings.
        preferred: the ids in the order of the rule.
    """
    step = max(1, len(lists) // SAMPLE_ROWS)
    sample, near = lists[::step][:SAMPLE_ROWS], distances[::step][:SAMPLE_ROWS]
    place = np.empty(len(preferred), dtype=np.int64)
    place[preferred - 1] = np.arange(len(preferred))
    before, after = sample[:, :-1] - 1, sample[:, 1:] - 1
    tied = (point[before] == point[after]) & (near[:, :-1] == near[:, 1:])
    return float((tied & (place[before] > place[after])).any(axis=1).mean())


def _base_doubt(lists: Array, base: int | None, n: int) -> list[str]:
    """Ids that would fit the other base as well."""
    edge, name = (1, "the id 0") if base == 0 else (n, f"the id {n}")
    if (lists == edge).any():
        return []
    other = 1 if base == 0 else 0
    return [f"no list names {name}: do the ids really count from {base}, not from {other}?"]


def _distance_figures(distances: Array) -> dict[str, float]:
    last = distances.shape[1] - 1
    return {
        "mean": float(distances.mean()),
        "std": float(distances.std()),
        "min": float(distances.min()),
        "max": float(distances.max()),
        "mean_of_first": float(distances[:, 0].mean()),
        "mean_of_tenth": float(distances[:, min(9, last)].mean()),
        "mean_of_last": float(distances[:, last].mean()),
    }


def _trajectory_figures(
    manifest: TeacherManifest, lists: Array, data: PreparedData
) -> dict[str, Any]:
    """Size of the trajectories and, by member on a sample of rows, what changes along its states.

    `targets_in_top_10` is the share of rows by state; `shared_with_last` the share of a state's top
    10 that is in that of the last state; `test` what the manifest knows of the member's own
    metrics.
    """
    models, states, rows, size = lists.shape
    sample = np.arange(rows)[:: max(1, rows // SAMPLE_ROWS)][:SAMPLE_ROWS]
    target = data.train.target[sample, None]
    members = {}
    for name, member in zip(manifest.members, lists, strict=True):
        top = member[:, sample, :10]
        shared = (top[:, :, :, None] == top[-1][None, :, None, :]).any(3)
        members[name] = {
            "targets_in_top_10": [float(value) for value in (top == target).any(2).mean(1)],
            "shared_with_last": [float(value) for value in shared.mean((1, 2))],
            "test": _test_metrics(manifest.recipe, name),
        }
    return {"models": models, "states": states, "list_length": size, "members": members}


def _test_metrics(recipe: dict[str, Any], member: str) -> dict[str, Any]:
    """The metrics of a member in a recipe; none where the recipe has another form."""
    found: Any = recipe
    for key in ("members", member, "metrics", "test"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}
