"""Entries of a leaderboard that need no training: baselines, and the teachers' own rankings."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from bench import plan
from bench.baselines.interface import BASELINES
from bench.data.examples import PreparedData
from bench.errors import Terminated
from bench.evaluation.metrics import metrics_from_ranks
from bench.evaluation.segments import segment_metrics
from bench.execution.inputs import Inputs
from bench.plan import Reference, Trial
from bench.progress import task
from bench.records.record import Outcome, finished
from bench.records.store import ResultStore

POLL_SECONDS = 0.1

_logger = logging.getLogger(__name__)


def references(trials: Iterable[Trial]) -> list[Reference]:
    """What the leaderboard of identified trials is read against: baselines and their teachers."""
    found: dict[str, Reference] = {}
    for trial in trials:
        data = {
            "dataset": trial.dataset,
            "protocol": trial.protocol,
            "data_fingerprint": trial.data_fingerprint,
        }
        entries = [
            # What the suite itself computes is covered by RESULTS_VERSION.
            Reference(name=one.name, code=None if one.is_shipped else one.code_digest, **data)
            for one in BASELINES
        ]
        if trial.teacher_fingerprint is not None:
            name, fingerprint = f"teacher:{trial.teacher}", trial.teacher_fingerprint
            entries.append(Reference(name=name, teacher_fingerprint=fingerprint, **data))
        found |= {entry.key: entry for entry in entries}
    return list(found.values())


def write_missing(trials: Iterable[Trial], store: ResultStore, inputs: Inputs) -> None:
    """Record the references of trials that are not recorded yet.

    Baselines that would cost too much are left out, and so are teachers that do not offer their
    ranks. The users of the test examples are stored as well, where they are not.

    Raises:
        InputsChanged: data or a teacher are others by now.
    """
    for reference in references(trials):
        data = inputs.data_of(reference)
        if store.users(data.fingerprint) is None:
            store.write_users(data.fingerprint, data.test.user)
        while store.get(reference.key) is None:
            with store.claim(reference.key) as granted:
                if granted:
                    if (outcome := _outcome(reference, data, inputs)) is not None:
                        store.write(finished(reference, outcome), outcome)
                    break
            time.sleep(POLL_SECONDS)


def _outcome(reference: Reference, data: PreparedData, inputs: Inputs) -> Outcome | None:
    _, _, teacher = reference.name.partition(":")
    if teacher:
        return _of_teacher(teacher, reference, data, inputs)
    return _of_baseline(reference.name, data)


def _of_baseline(name: str, data: PreparedData) -> Outcome | None:
    """The ranking of a baseline; None where it cannot be had, which is logged."""
    import torch

    from bench.execution.hygiene import clean_process

    try:
        with clean_process(torch.get_num_threads(), plan.seed_of(name, data.fingerprint)):
            return _ranked(name, data)
    except (KeyboardInterrupt, Terminated):
        raise
    except BaseException as error:  # code of anybody's; nobody's trial stands on it
        _logger.warning(
            f"baseline {name} is left out for {data.dataset}: {type(error).__name__}: {error}"
        )
        return None


def _ranked(name: str, data: PreparedData) -> Outcome | None:
    baseline = BASELINES.load(name)()
    if obstacle := baseline.obstacle(data):
        _logger.info(f"baseline {name} is left out for {data.dataset}: {obstacle}")
        return None
    started = time.perf_counter()
    with task(f"baseline {name}"):
        baseline.fit(data.train, data.n_items)
        fitted = time.perf_counter()
        ranks = {
            split: baseline.ranks(examples, data.n_items)
            for split, examples in (("valid", data.valid), ("test", data.test))
        }
    return Outcome(
        metrics={split: metrics_from_ranks(found) for split, found in ranks.items()},
        segments=segment_metrics(ranks["test"], data),
        ranks=ranks["test"],
        timings={
            "fit_seconds": fitted - started,
            "evaluation_seconds": time.perf_counter() - fitted,
        },
    )


def _of_teacher(
    teacher: str, reference: Reference, data: PreparedData, inputs: Inputs
) -> Outcome | None:
    from bench.teachers.knowledge import load_test_ranks

    name = (data.dataset, data.protocol, teacher)
    folder = inputs.teacher_folder(name)
    ranks = load_test_ranks(folder, data, reference.teacher_fingerprint)
    if ranks is None:
        return None
    known = inputs.manifest(name).metrics
    metrics = {"valid": known["valid"]} if "valid" in known else {}
    return Outcome(
        metrics=metrics | {"test": metrics_from_ranks(ranks)},
        segments=segment_metrics(ranks, data),
        ranks=ranks,
    )
