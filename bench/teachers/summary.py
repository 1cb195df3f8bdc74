"""What a look at a teacher's arrays tells before anything is trained on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.data.examples import PreparedData
from bench.teachers.contract import Checked
from bench.teachers.rows import preference
from bench.teachers.rules import Array

SAMPLE_ROWS = 2000
"""Rows on which the slower figures are taken, evenly spread."""


def summarise(checked: Checked, data: PreparedData) -> dict[str, Any]:
    """Figures about knowledge that passed its check.

    Args:
        checked: the result of `contract.check`, without problems.
        data: the rows and items it speaks of.

    Returns:
        Plain values: `coverage` (share of rows), `list_length` (K_T), `embedding_width` (D),
        `items_with_equal_embeddings`, `distance` (quantiles), `targets_in_list` (share of covered
        rows whose target is in the top 1, 10 and K_T), `agreement_of_order_and_embeddings` (see
        `list_agreement`; not there without both, or for lists of fewer than 3),
        `lists_with_ties_out_of_order` (see `ties_out_of_order`), `trajectories` (see
        `_trajectory_figures`), fingerprints, and `doubts`: sentences about what is allowed and
        looks wrong.
    """
    manifest = checked.manifest
    rows = len(data.train)
    covered = np.ones(rows, dtype=bool) if checked.covered is None else checked.covered
    doubts: list[str] = []
    result: dict[str, Any] = {
        "name": manifest.name,
        "signals": list(manifest.signals),
        "id_base": manifest.id_base,
        "items": data.n_items,
        "training_rows": rows,
        "covered_rows": int(covered.sum()),
        "coverage": float(covered.mean()),
    }
    if checked.embeddings is not None:
        unique, point = np.unique(checked.embeddings, axis=0, return_inverse=True)
        result["embedding_width"] = checked.embeddings.shape[1]
        result["items_with_equal_embeddings"] = data.n_items - len(unique)
    if checked.rankings is not None:
        lists, targets = checked.rankings[covered], data.train.target[covered]
        hit = lists == targets[:, None]
        size = lists.shape[1]
        result["list_length"] = size
        result["targets_in_list"] = {
            f"top_{k}": float(hit[:, :k].any(1).mean()) for k in sorted({1, min(10, size), size})
        }
        result["different_items_listed"] = len(np.unique(lists))
        # A base that the suite wrote itself is no matter of doubt.
        if not manifest.created_by:
            doubts += _base_doubt(lists, manifest.id_base, data.n_items)
        if checked.embeddings is not None and size > 2:
            agreement, error = list_agreement(lists, checked.embeddings)
            result["agreement_of_order_and_embeddings"] = agreement
            if agreement < 3 * error:
                doubts.append(
                    f"the order of the lists has nothing to do with the embeddings (rank "
                    f"correlation {agreement:.3f}, standard error {error:.3f}): they may be of "
                    "different teachers, or count items in different orders"
                )
        if checked.embeddings is not None and checked.distances is not None:
            result["lists_with_ties_out_of_order"] = ties_out_of_order(
                lists, checked.distances[covered], point.reshape(-1), preference(data)
            )
    if checked.distances is not None:
        result["distance"] = _distance_figures(checked.distances[covered])
    if checked.truth_distance is not None:
        result["truth_distance_mean"] = float(checked.truth_distance[covered].mean())
    if checked.trajectories is not None:
        result["trajectories"] = _trajectory_figures(checked, data)
    result |= {
        "doubts": doubts,
        "fingerprint": manifest.fingerprint,
        "catalogue_fingerprint": manifest.catalogue_fingerprint or "not declared",
        "split_fingerprint": manifest.split_fingerprint or "not declared",
    }
    return result


def list_agreement(lists: Array, embeddings: Array) -> tuple[float, float]:
    """How far list order and embedding space are of one mind: -1..1, near 0 if unrelated.

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


def _trajectory_figures(checked: Checked, data: PreparedData) -> dict[str, Any]:
    """Size of the trajectories and, by member on a sample of rows, what changes along its states.

    `targets_in_top_10` is the share of rows by state; `shared_with_last` the share of a state's top
    10 that is in that of the last state; `test` what the manifest knows of the member's own
    metrics.
    """
    lists = checked.trajectories
    assert lists is not None  # noqa: S101 - only called with them
    models, states, rows, size = lists.shape
    sample = np.arange(rows)[:: max(1, rows // SAMPLE_ROWS)][:SAMPLE_ROWS]
    target = data.train.target[sample, None]
    members = {}
    for name, member in zip(checked.manifest.members, lists, strict=True):
        top = member[:, sample, :10]
        shared = (top[:, :, :, None] == top[-1][None, :, None, :]).any(3)
        members[name] = {
            "targets_in_top_10": [float(value) for value in (top == target).any(2).mean(1)],
            "shared_with_last": [float(value) for value in shared.mean((1, 2))],
            "test": _test_metrics(checked.manifest.recipe, name),
        }
    return {"models": models, "states": states, "list_length": size, "members": members}


def _test_metrics(recipe: dict[str, Any], member: str) -> dict[str, Any]:
    """What a recipe tells of a member's own metrics: nothing, where it has a form of its own."""
    told: Any = recipe
    for key in ("members", member, "metrics", "test"):
        told = told.get(key) if isinstance(told, dict) else None
    return told if isinstance(told, dict) else {}
