"""Entries of a leaderboard that need no training: baselines, and the teachers' own rankings."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from bench import plan
from bench.baselines.interface import BASELINES, Baseline
from bench.data import store as data_store
from bench.data.config import dataset_config
from bench.data.examples import PreparedData
from bench.errors import ConfigError, Terminated
from bench.evaluation.metrics import (
    CATALOGUE,
    CUTOFFS,
    MASKED,
    RANKED_PLACES,
    TargetRanks,
    held,
    split_metrics,
)
from bench.evaluation.segments import segment_metrics
from bench.execution.inputs import Inputs
from bench.paths import Workspace
from bench.plan import Reference, TeacherName, Trial
from bench.progress import task
from bench.records.record import Outcome, Record, finished
from bench.records.store import ResultStore
from bench.signals import MASKED_TEST_RANKS
from bench.teachers.manifest import read_manifest, teacher_folder

POLL_SECONDS = 0.1

_logger = logging.getLogger(__name__)


def of_trials(trials: Iterable[Trial]) -> list[Reference]:
    """What the leaderboard of identified trials is read against: baselines and their teachers."""
    return _beside(
        (t.dataset, t.protocol, t.data_fingerprint, t.teacher, t.teacher_fingerprint)
        for t in trials
    )


def of_teachers(names: Iterable[TeacherName], inputs: Inputs) -> list[Reference]:
    """Teachers that are built, whose own ranking is asked for, each behind the baselines.

    Raises:
        ArtifactError: a teacher's manifest cannot be understood.
    """
    return _beside(
        (*name[:2], inputs.data(name[:2]).fingerprint, name[2], inputs.manifest(name).fingerprint)
        for name in names
    )


def _beside(places: Iterable[tuple[str, str, str, str | None, str | None]]) -> list[Reference]:
    """The baselines and the teacher of each dataset, protocol, fingerprint, teacher and its own."""
    found: dict[str, Reference] = {}
    for dataset, protocol, fingerprint, teacher, own in dict.fromkeys(places):
        data = {"dataset": dataset, "protocol": protocol, "data_fingerprint": fingerprint}
        entries = _baselines(data)
        if teacher is not None and own is not None:
            entries.append(_teacher(teacher, own, data))
        found |= {entry.key: entry for entry in entries}
    return list(found.values())


def _baselines(data: dict[str, str]) -> list[Reference]:
    # What the suite itself computes is covered by RESULTS_VERSION.
    return [
        Reference(name=one.name, code=None if one.is_shipped else one.code_digest, **data)
        for one in BASELINES
    ]


def _teacher(name: str, fingerprint: str, data: dict[str, str]) -> Reference:
    return Reference(name=f"teacher:{name}", teacher_fingerprint=fingerprint, **data)


def write_missing(references: Iterable[Reference], store: ResultStore, inputs: Inputs) -> None:
    """Record references that are not recorded yet.

    Baselines that would cost too much are left out, and so are teachers that do not offer their
    ranks. A record of before there were masked ranks is made again where they can be had. The
    users of the test examples are stored as well, where they are not.

    Raises:
        InputsChanged: data or a teacher are others by now.
    """
    with_users: set[str] = set()
    for reference in references:
        data = inputs.data_of(reference)
        if data.fingerprint not in with_users:
            _write_users(data, store)
            with_users.add(data.fingerprint)
        name, _, teacher = reference.name.partition(":")
        if teacher:
            place = inputs.teacher_folder((reference.dataset, reference.protocol, teacher))
            _write_teacher(place, reference, data, store)
        else:
            knows = data.sequences is not None
            if not _is_missing(store.get(reference.key), masks=knows):
                continue  # without a look at what it would cost
            baseline = _affordable(name, inputs.workspace.teacher_cache, data)
            if baseline is not None:
                _write(reference, data, store, partial(_of_baseline, name, baseline), masks=knows)


def record_teachers(
    names: Iterable[str], store: ResultStore, workspace: Workspace, datasets: Collection[str]
) -> None:
    """Record the own rankings of teachers, for the data that records are of.

    Args:
        names: of teachers that are built, or were imported.
        store: where the records are, and go.
        workspace: where data and teachers are.
        datasets: those that count; all, if empty.

    Raises:
        ConfigError: there is no such teacher for any of these data.
        ArtifactError: a teacher breaks the contract.
    """
    subjects = [record.subject for record in store.records()]
    known = {(one.dataset, one.protocol, one.data_fingerprint) for one in subjects}
    known = {one for one in known if not datasets or one[0] in datasets}
    for name in names:
        found = False
        for dataset, protocol, fingerprint in sorted(known):
            if _fingerprint(dataset, protocol, workspace) != fingerprint:
                continue  # not here, or other data by now
            own = dataset_config(dataset, workspace).protocol.slug
            place = teacher_folder(workspace, dataset, name, protocol, own)
            if not place.is_dir():
                continue
            found = True
            data = data_store.load(dataset, protocol, workspace)
            of_data = {"dataset": dataset, "protocol": protocol, "data_fingerprint": fingerprint}
            reference = _teacher(name, read_manifest(place).fingerprint, of_data)
            _write_users(data, store)
            _write_teacher(place, reference, data, store)
        if not found:
            raise ConfigError(
                f"--reference {name}: no teacher of this name is there for the data of these "
                "records; `bench teacher import` and `bench teacher build` make one"
            )


def _fingerprint(dataset: str, protocol: str, workspace: Workspace) -> str | None:
    identity = data_store.identity(dataset, protocol, workspace)
    return None if identity is None else identity.fingerprint


def _write_users(data: PreparedData, store: ResultStore) -> None:
    users = store.users(data.fingerprint)
    if users is None or not np.array_equal(users, data.test.user):
        store.write_users(data.fingerprint, data.test.user)


def _write_teacher(
    place: Path, reference: Reference, data: PreparedData, store: ResultStore
) -> None:
    masks = (place / MASKED_TEST_RANKS.file).is_file()
    _write(reference, data, store, partial(_of_teacher, place, reference), masks=masks)


def _write(
    reference: Reference,
    data: PreparedData,
    store: ResultStore,
    measure: Callable[[PreparedData], Outcome | None],
    *,
    masks: bool,
) -> None:
    """Record a reference that is not there, or lacks the masked ranks that it could have."""
    while _is_missing(store.get(reference.key), masks=masks):
        with store.claim(reference.key) as granted:
            if granted:
                if (outcome := measure(data)) is not None:
                    store.write(finished(reference, outcome), outcome)
                break
        time.sleep(POLL_SECONDS)


def _is_missing(record: Record | None, *, masks: bool) -> bool:
    return record is None or (masks and f"test-{MASKED}" not in record.metrics)


def _affordable(name: str, texts: Path, data: PreparedData) -> Baseline | None:
    """A baseline before it is fitted; None where it cannot be had, which is logged.

    Args:
        name: of the baseline.
        texts: folder of the vectors of texts that teachers have encoded.
        data: what it is to learn from and rank.
    """
    with _left_out_if_broken(name, data):
        baseline = BASELINES.load(name)()
        obstacle = baseline.obstacle(data) or _texts_obstacle(baseline, texts, data)
        if obstacle is None:
            return baseline
        _logger.info(f"baseline {name} is left out for {data.dataset}: {obstacle}")
    return None


def _of_baseline(name: str, baseline: Baseline, data: PreparedData) -> Outcome | None:
    """The ranking of a baseline; None where it fails, which is logged."""
    import torch  # here: whoever finds every record there needs none

    from bench.execution.hygiene import clean_process

    seed = plan.seed_of(name, data.fingerprint)
    outcome = None
    with _left_out_if_broken(name, data), clean_process(torch.get_num_threads(), seed):
        outcome = _measured(name, baseline, data)
    return outcome


@contextlib.contextmanager
def _left_out_if_broken(name: str, data: PreparedData) -> Iterator[None]:
    """Whatever the code of a baseline raises leaves that baseline out; no trial stands on it."""
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        raise
    except BaseException as error:  # code of anybody's
        _logger.warning(
            f"baseline {name} is left out for {data.dataset}: {type(error).__name__}: {error}"
        )


def _measured(name: str, baseline: Baseline, data: PreparedData) -> Outcome:
    started = time.perf_counter()
    with task(f"baseline {name}"):
        baseline.fit(data.train, data.n_items)
        fitted = time.perf_counter()
        valid, test = (
            baseline.all_ranks(examples, data.n_items, data.sequences)
            for examples in (data.valid, data.test)
        )
    return Outcome(
        metrics=split_metrics(valid=valid, test=test),
        segments=_segments(test, data),
        ranks=test.ranked,
        masked_ranks=test.masked,
        settings={CATALOGUE: data.n_items},
        timings={
            "fit_seconds": fitted - started,
            "evaluation_seconds": time.perf_counter() - fitted,
        },
    )


def _texts_obstacle(baseline: Baseline, texts: Path, data: PreparedData) -> str | None:
    """Give item texts to a baseline that reads them; why not, where there are none."""
    if not hasattr(baseline, "read_texts"):
        return None
    from bench.teachers.encoder import MINILM, encoded

    vectors = encoded(data.item_texts, texts) if any(map(str.strip, data.item_texts)) else None
    if vectors is None:
        return f"it reads item texts as {MINILM} encodes them, and no teacher has done so here"
    baseline.read_texts(vectors)
    return None


def _of_teacher(folder: Path, reference: Reference, data: PreparedData) -> Outcome | None:
    from bench.teachers.knowledge import load_test_ranks

    ranks = load_test_ranks(folder, data, reference.teacher_fingerprint)
    manifest = read_manifest(folder)
    if ranks is None:
        name = manifest.name
        _logger.info(f"teacher '{name}' of {data.dataset} has no ranks of the test examples")
        return None
    places, known = manifest.test_places, manifest.metrics
    cutoffs = held(CUTOFFS, places)
    valid = {split: known[split] for split in ("valid", f"valid-{MASKED}") if split in known}
    return Outcome(
        metrics=valid | split_metrics(cutoffs, test=ranks),
        segments=_segments(ranks, data, cutoffs),
        ranks=ranks.ranked,
        masked_ranks=ranks.masked,
        settings={CATALOGUE: data.n_items, **({RANKED_PLACES: places} if places else {})},
    )


def _segments(
    ranks: TargetRanks, data: PreparedData, cutoffs: Iterable[int] = CUTOFFS
) -> dict[str, dict[str, float]]:
    """Metrics of segments under both rules: a reference is read beside trials of either."""
    cutoffs = tuple(cutoffs)
    found = segment_metrics(ranks.ranked, data, cutoffs)
    if ranks.masked is None:
        return found
    masked = segment_metrics(ranks.masked, data, cutoffs)
    return found | {f"{name}-{MASKED}": part for name, part in masked.items()}
