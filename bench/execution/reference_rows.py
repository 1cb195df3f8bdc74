"""Rows that need no training: the ranking by popularity and the teachers' own."""

from __future__ import annotations

import time

from bench.data.rows import Ids, PreparedData
from bench.evaluation.metrics import metrics_from_ranks
from bench.evaluation.references import popularity_ranks
from bench.evaluation.segments import segment_metrics
from bench.execution.inputs import Inputs
from bench.plan import Reference, TeacherName
from bench.results.record import Outcome, finished
from bench.results.store import ResultStore
from bench.results.users import load_users, save_users

POLL_SECONDS = 0.1


def write_missing(references: list[Reference], store: ResultStore, inputs: Inputs) -> None:
    """Record the references that are not recorded yet; one that cannot be had is left out.

    The users of their test rows are stored as well, where they are not.
    """
    for reference in references:
        data = inputs.data((reference.dataset, reference.protocol))
        if load_users(store.folder, data.fingerprint) is None:
            save_users(store.folder, data)
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


def _teacher_ranks(inputs: Inputs, name: TeacherName, data: PreparedData) -> Ids | None:
    """The teacher's ranks of the test targets, int32 [R_test], where it tells them."""
    from bench.teachers.knowledge import load_test_ranks

    return load_test_ranks(inputs.teacher_folder(name), data)
