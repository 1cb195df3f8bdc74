"""Rows that need no training: the ranking by popularity and the teachers' own."""

from __future__ import annotations

import time

import numpy as np

from bench.data.rows import Ids, PreparedData
from bench.evaluation.metrics import metrics_from_ranks
from bench.evaluation.references import popularity_ranks
from bench.evaluation.segments import segment_metrics
from bench.execution.inputs import Inputs
from bench.plan import Reference
from bench.results.record import Outcome, finished
from bench.results.store import ResultStore
from bench.results.users import save_users
from bench.teachers.files import TEST_RANKS


def write_missing(references: list[Reference], store: ResultStore, inputs: Inputs) -> None:
    """Record the references that are not recorded yet; one that cannot be had is left out."""
    for reference in references:
        if store.get(reference.key) is not None:
            continue
        data = inputs.data((reference.dataset, reference.protocol))
        save_users(store.folder, data)
        outcome = _outcome(reference, data, inputs)
        if outcome is None:
            continue
        with store.claim(reference.key) as granted:
            if granted:
                store.write(finished(reference, outcome), outcome)


def _outcome(reference: Reference, data: PreparedData, inputs: Inputs) -> Outcome | None:
    started = time.perf_counter()
    kind, _, teacher = reference.name.partition(":")
    metrics: dict[str, dict[str, float]] = {}
    ranks: Ids | None
    if kind == "popularity":
        metrics["valid"] = metrics_from_ranks(popularity_ranks(data, "valid"))
        ranks = popularity_ranks(data)
    else:
        name = (reference.dataset, reference.protocol, teacher)
        if "valid" in (known := inputs.manifest(name).metrics):
            metrics["valid"] = known["valid"]
        ranks = _teacher_ranks(inputs, name, len(data.test))
    if ranks is None:
        return None
    metrics["test"] = metrics_from_ranks(ranks)
    return Outcome(
        metrics=metrics,
        segments=segment_metrics(ranks, data),
        ranks=ranks,
        timings={"evaluation_seconds": time.perf_counter() - started},
    )


def _teacher_ranks(inputs: Inputs, name: tuple[str, str, str], rows: int) -> Ids | None:
    """The teacher's ranks of the test targets, int32 [R_test], where it tells them."""
    path = inputs.teacher_folder(name) / TEST_RANKS
    if not path.is_file():
        return None
    ranks: Ids = np.load(path, allow_pickle=False)
    return ranks if ranks.shape == (rows,) else None
