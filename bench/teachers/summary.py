"""What a look at a teacher's arrays tells before anything is trained on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.data.rows import PreparedData
from bench.teachers.contract import Array, Checked

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
        rows whose target is in the top 1, 10 and K_T), `agreement` (see `list_agreement`),
        `trajectories` (see `_trajectory_figures`) and fingerprints.
    """
    manifest = checked.manifest
    rows = len(data.train)
    covered = np.ones(rows, dtype=bool) if checked.covered is None else checked.covered
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
        unique = len(np.unique(checked.embeddings, axis=0))
        result["embedding_width"] = checked.embeddings.shape[1]
        result["items_with_equal_embeddings"] = data.n_items - unique
    if checked.rankings is not None:
        lists, targets = checked.rankings[covered], data.train.target[covered]
        hit = lists == targets[:, None]
        size = lists.shape[1]
        result["list_length"] = size
        result["targets_in_list"] = {
            f"top_{k}": float(hit[:, :k].any(1).mean()) for k in sorted({1, min(10, size), size})
        }
        result["different_items_listed"] = len(np.unique(lists))
        if manifest.id_base == 0 and not (lists == 1).any():
            result["id_base_doubt"] = "no list names the id 0: is the base really 0, not 1?"
        if checked.embeddings is not None and size > 2:
            result["agreement_of_order_and_embeddings"] = list_agreement(lists, checked.embeddings)
    if checked.distances is not None:
        result["distance"] = _distance_figures(checked.distances[covered])
    if checked.truth_distance is not None:
        result["truth_distance_mean"] = float(checked.truth_distance[covered].mean())
    if checked.trajectories is not None:
        result["trajectories"] = _trajectory_figures(checked, data)
    result |= {
        "fingerprint": manifest.fingerprint,
        "catalogue_fingerprint": manifest.catalogue_fingerprint or "not declared",
        "split_fingerprint": manifest.split_fingerprint or "not declared",
    }
    return result


def list_agreement(lists: Array, embeddings: Array) -> float:
    """How far list order and embedding space are of one mind: -1..1, near 0 if unrelated.

    Mean Spearman correlation, over a sample of rows, between an item's place in its list and its
    embedding's distance to that of the list's first item. Lists and embeddings of one teacher that
    are addressed alike agree; about 0 hints at ids of another catalogue or another base.

    Args:
        lists: ids 1..N [R, K_T], K_T >= 3.
        embeddings: float32 [N, D].
    """
    sample = lists[:: max(1, len(lists) // SAMPLE_ROWS)][:SAMPLE_ROWS]
    points = embeddings[sample - 1]
    distance = np.linalg.norm(points[:, 1:] - points[:, :1], axis=2)
    ranks = distance.argsort(axis=1).argsort(axis=1).astype(np.float64)
    place = np.arange(ranks.shape[1], dtype=np.float64)
    centred = place - place.mean()
    return float(((ranks - place.mean()) @ centred).mean() / (centred @ centred))


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
    told = checked.manifest.recipe.get("members", {})
    members = {}
    for name, member in zip(checked.manifest.members, lists, strict=True):
        top = member[:, sample, :10]
        shared = (top[:, :, :, None] == top[-1][None, :, None, :]).any(3)
        members[name] = {
            "targets_in_top_10": [float(value) for value in (top == target).any(2).mean(1)],
            "shared_with_last": [float(value) for value in shared.mean((1, 2))],
            "test": told.get(name, {}).get("metrics", {}).get("test", {}),
        }
    return {"models": models, "states": states, "list_length": size, "members": members}
