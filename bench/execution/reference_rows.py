"""Rows that need no training: rankings by counts, and the teachers' own."""

from __future__ import annotations

import time

import numpy as np

from bench.data.examples import Examples, Ids, PreparedData
from bench.evaluation.metrics import metrics_from_ranks
from bench.evaluation.references import popularity_ranks
from bench.evaluation.segments import segment_metrics
from bench.execution.inputs import Inputs
from bench.plan import COUNTED, Reference, TeacherName
from bench.records.record import Outcome, finished
from bench.records.store import ResultStore

POLL_SECONDS = 0.1
BLOCK_ROWS, BLOCK_SCORES = 256, 2**25
AFFORDABLE = 10**9
"""Pairs of items of one user that are counted, or scores that are ranked: some ten seconds, and a
gigabyte or two."""


def write_missing(references: list[Reference], store: ResultStore, inputs: Inputs) -> None:
    """Record the references that are not recorded yet; one that cannot be had is left out.

    The users of their test rows are stored as well, where they are not.
    """
    for reference in references:
        data = inputs.data((reference.dataset, reference.protocol))
        if store.users(data.fingerprint) is None:
            store.write_users(data.fingerprint, data.test.user)
        if store.get(reference.key) is None:
            outcome = _outcome(reference, data, inputs)
            if outcome is not None:
                _write_or_wait(reference, outcome, store)


def _write_or_wait(reference: Reference, outcome: Outcome, store: ResultStore) -> None:
    """Return when there is a record, written by this process or by another that claimed it."""
    while store.get(reference.key) is None:
        with store.claim(reference.key) as granted:
            if granted:
                store.write(finished(reference, outcome), outcome)
                return
        time.sleep(POLL_SECONDS)


def _outcome(reference: Reference, data: PreparedData, inputs: Inputs) -> Outcome | None:
    started = time.perf_counter()
    metrics: dict[str, dict[str, float]] = {}
    ranks: Ids | None
    if reference.name in COUNTED:
        by_split = _COUNTED_RANKS[reference.name](data)
        if by_split is None:
            return None
        metrics["valid"] = metrics_from_ranks(by_split["valid"])
        ranks = by_split["test"]
    else:
        _, _, teacher = reference.name.partition(":")
        name = (reference.dataset, reference.protocol, teacher)
        if "valid" in (known := inputs.manifest(name).metrics):
            metrics["valid"] = known["valid"]
        ranks = _teacher_ranks(inputs, name, data)
    if ranks is None:
        return None
    metrics["test"] = metrics_from_ranks(ranks)
    return Outcome(
        metrics=metrics,
        segments=segment_metrics(ranks, data),
        ranks=ranks,
        timings={"evaluation_seconds": time.perf_counter() - started},
    )


def _by_popularity(data: PreparedData) -> dict[str, Ids] | None:
    return {"valid": popularity_ranks(data, "valid"), "test": popularity_ranks(data)}


def _by_item_knn(data: PreparedData) -> dict[str, Ids] | None:
    """Ranks by co-occurrence in the training rows, with the defaults of `ItemKNN`.

    None where that would take long or much memory: a row to read others against must not cost
    what they do.
    """
    import torch

    from bench.evaluation.ranking import target_ranks
    from bench.teachers.recommenders.counting import (
        ItemKNN,
        NeighbourParameters,
        most_pairs,
    )

    scores = (len(data.valid) + len(data.test)) * data.n_items
    if max(scores, most_pairs(data.train)) > AFFORDABLE:
        return None
    model = ItemKNN(NeighbourParameters(), data.train, data.n_items)
    block = max(1, min(BLOCK_ROWS, BLOCK_SCORES // data.n_items))

    def ranks(rows: Examples) -> Ids:
        blocks = np.array_split(np.arange(len(rows)), -(-len(rows) // block))
        found = [
            target_ranks(
                torch.from_numpy(model.log_probabilities(rows.history[part], rows.length[part])),
                torch.from_numpy(rows.target[part].astype(np.int64) - 1),
            )
            for part in blocks
        ]
        return torch.cat(found).int().numpy()

    return {"valid": ranks(data.valid), "test": ranks(data.test)}


_COUNTED_RANKS = {"popularity": _by_popularity, "item-knn": _by_item_knn}
"""How each of `plan.COUNTED` ranks the targets of validation and test."""


def _teacher_ranks(inputs: Inputs, name: TeacherName, data: PreparedData) -> Ids | None:
    """The teacher's ranks of the test targets, int32 [R_test], where it tells them."""
    from bench.teachers.knowledge import load_test_ranks

    return load_test_ranks(inputs.teacher_folder(name), data)
