"""Running a grid: references, builds on demand, what is refused, what is waited for."""

import contextlib
import itertools
import re
import resource
import shutil
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.baselines import interface
from bench.baselines.interface import BASELINES
from bench.baselines.popularity import Popularity
from bench.config.grid import Grid, resolve
from bench.config.selection import Selection
from bench.data import store as data_store
from bench.data.examples import PreparedData
from bench.data.sources import importing
from bench.errors import ArtifactError, ConfigError, OutOfMemory
from bench.evaluation.metrics import metrics_from_ranks
from bench.execution import run as execution
from bench.execution import runner
from bench.execution.inputs import Inputs, identify
from bench.execution.references import of_trials
from bench.execution.run import run_grid
from bench.execution.runner import Task, run_trials
from bench.paths import Workspace
from bench.plan import Reference, Trial
from bench.records.record import Outcome, Record, Retry, failed, finished
from bench.records.store import ResultStore
from bench.signals import TEST_RANKS

from ..listening import listening

REFERENCES = len(BASELINES.names()) - 1
"""Baselines but l3ae: no teacher has encoded texts of these data."""


def grid_of(tiny: Workspace, *methods: str, **axes: object) -> Grid:
    teachers = [] if methods == ("none",) else ["published"]
    fields = {"methods": methods, "datasets": ["tiny"], "students": ["tiny"], **axes}
    return resolve(Selection.model_validate({"teachers": teachers, **fields}), tiny)


def run(grid: Grid, tiny: Workspace, **options: bool) -> list[Record]:
    return run_grid(
        grid,
        ResultStore(tiny.results),
        tiny,
        device="cpu",
        threads=1,
        **options,
    )


def reference(tiny: Workspace, grid: Grid, name: str) -> Reference:
    trials = [trial for trial in identify(grid, tiny) if trial is not None]
    return next(row for row in of_trials(trials) if row.name == name)


def counted(tiny: Workspace, name: str) -> tuple[Reference, ResultStore, PreparedData]:
    """A reference that a run of `none` writes, where it is written, and what it ranks."""
    grid = grid_of(tiny, "none")
    run(grid, tiny)
    row = reference(tiny, grid, name)
    return row, ResultStore(tiny.results), data_store.load("tiny", row.protocol, tiny)


def test_popularity_has_a_row(tiny: Workspace) -> None:
    row, store, data = counted(tiny, "popularity")
    record = store.get(row.key)
    assert record is not None and record.kind == "reference"
    popularity = Popularity().fit(data.train, data.n_items)
    assert store.ranks(row.key).tolist() == popularity.ranks(data.test, data.n_items).tolist()
    for split in ("valid", "test"):
        ranks = popularity.ranks(getattr(data, split), data.n_items)
        assert record.metrics[split] == metrics_from_ranks(ranks)
    users = store.users(row.data_fingerprint)
    assert users is not None and users.tolist() == data.test.user.tolist()


def test_counting_neighbours_has_a_row(tiny: Workspace) -> None:
    """By brute force over the pairs of items of a user."""
    row, store, data = counted(tiny, "item-knn")
    baskets: dict[int, set[int]] = defaultdict(set)
    for user, history, target in zip(
        data.train.user, data.train.history, data.train.target, strict=True
    ):
        baskets[int(user)] |= {int(target), *map(int, history)} - {0}
    users = {i: {u for u, items in baskets.items() if i in items} for i in range(data.n_items + 1)}
    counts = data.target_counts()[1:] + 1.0
    popularity = counts / counts.sum()

    def mixture(history: Any) -> Any:
        scores = np.zeros(data.n_items)
        for read in filter(None, history.tolist()):
            for item in range(1, data.n_items + 1):
                both = len(users[read] & users[item])
                if item != read and both:
                    scores[item - 1] += both / (len(users[read]) * len(users[item])) ** 0.5
        known = scores.sum() > 0
        return 0.9 * scores / scores.sum() + 0.1 * popularity if known else popularity

    ranks = store.ranks(row.key)
    for rank, history, target in zip(ranks, data.test.history, data.test.target, strict=True):
        ahead = mixture(history) / mixture(history)[target - 1]
        # Single precision may part what ties.
        assert (ahead > 1 + 1e-5).sum() < rank <= (ahead > 1 - 1e-5).sum()
    record = store.get(row.key)
    assert record is not None and record.kind == "reference"
    assert set(record.metrics) == {"valid", "test", "valid-masked", "test-masked"}


def test_counting_neighbours_has_no_row_where_it_would_cost_much(
    tiny: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interface, "AFFORDABLE", 1000)
    grid = grid_of(tiny, "none")
    run(grid, tiny)
    store = ResultStore(tiny.results)
    assert store.get(reference(tiny, grid, "popularity").key) is not None
    assert store.get(reference(tiny, grid, "item-knn").key) is None


def test_a_teacher_that_tells_its_ranks_has_a_row(tiny: Workspace, tiny_teacher: Path) -> None:
    grid = grid_of(tiny, "embedding-only")
    run(grid, tiny)
    row = reference(tiny, grid, "teacher:published")
    store = ResultStore(tiny.results)
    assert store.get(row.key) is None, "bare files tell nothing of the test rows"

    rows = len(data_store.load("tiny", row.protocol, tiny).test)
    np.save(tiny_teacher / TEST_RANKS.file, np.full(rows, 2, dtype=np.int32))
    run(grid, tiny)
    record = store.get(row.key)
    assert record is not None
    assert record.metrics["test"]["hr@1"] == 0.0
    assert record.metrics["test"]["hr@5"] == 1.0


def test_a_broken_teacher_is_refused_before_training(tiny: Workspace, tiny_teacher: Path) -> None:
    path = tiny_teacher / "myrank_train.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(ArtifactError, match="rows"):
        run(grid_of(tiny, "none", "ranking-only"), tiny)
    assert ResultStore(tiny.results).records() == []


def test_a_missing_signal_is_refused_with_those_who_offer_it(
    tiny: Workspace, tiny_teacher: Path
) -> None:
    (tiny_teacher / "confidence_train.txt").unlink()
    (tiny_teacher / "teacher.json").write_text(
        '{"name": "published", "dataset": "tiny", "signals": ["embeddings"], "id_base": 0}'
    )
    with pytest.raises(ConfigError) as caught:
        run(grid_of(tiny, "ranking-only"), tiny)
    assert "does not offer confidence, rankings (it offers embeddings)" in str(caught.value)
    (able,) = re.findall(r"Teachers that do: (.+)", str(caught.value))
    assert {"text", "learn"} <= set(able.split(", ")) and "raw-text" not in able


def test_changed_data_are_new_trials(tiny: Workspace) -> None:
    grid = grid_of(tiny, "none")
    (before,) = run(grid, tiny)
    table = tiny.home / "interactions.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-8]) + "\n")
    data = importing.read(importing.Tables(table, None))
    importing.store("tiny", data, tiny, force=True)
    (after,) = run(grid_of(tiny, "none"), tiny)
    assert after.key != before.key
    assert ResultStore(tiny.results).get(before.key) == before


def test_records_do_not_depend_on_what_else_ran(tiny: Workspace, tiny_teacher: Path) -> None:
    (alone,) = run(grid_of(tiny, "embedding-only", seeds="1"), tiny)
    other = Workspace(tiny.home)
    store = ResultStore(tiny.home / "elsewhere")
    many = run_grid(
        grid_of(other, "none", "ranking-only", "embedding-only", seeds="0-1"),
        store,
        other,
        device="cpu",
        threads=1,
    )
    twin = next(record for record in many if record.key == alone.key)
    assert twin.metrics == alone.metrics
    ranks = ResultStore(tiny.results).ranks(alone.key)
    assert (store.ranks(alone.key) == ranks).all()


def test_what_another_process_runs_is_waited_for(
    tiny: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.01)
    grid = grid_of(tiny, "none", seeds="0-1")
    first, second = run(grid, tiny)
    # The other process: it holds the claim of a trial whose record is not there yet.
    store = ResultStore(tiny.home / "shared")
    lines: list[str] = []
    waits = threading.Event()

    def hear(line: str) -> None:
        lines.append(line)
        if "waiting" in line:
            waits.set()

    def ours() -> list[Record]:
        with listening(hear):
            return run_grid(grid, store, tiny, device="cpu", threads=1)

    found: list[Record] = []
    with store.claim(first.key) as granted:
        assert granted
        thread = threading.Thread(target=lambda: found.extend(ours()))
        thread.start()
        assert waits.wait(60)
        assert first.trial is not None
        ranks = ResultStore(tiny.results).ranks(first.key)
        outcome = Outcome(metrics=first.metrics, segments={}, ranks=ranks)
        theirs = finished(first.trial, outcome, {"by": "the other"})
        store.write(theirs, outcome)
    thread.join(60)
    assert [record.key for record in found] == [first.key, second.key]
    assert found[0].environment == {"by": "the other"}
    assert sum("starts on" in line for line in lines) == 1


@pytest.mark.parametrize("status", ["done", "error"])
@pytest.mark.parametrize("again", [False, True])
def test_what_another_process_writes_before_the_trials_start_is_not_run(
    tiny: Workspace, monkeypatch: pytest.MonkeyPatch, status: str, again: bool
) -> None:
    """It comes about after this process has seen that the trial has to run."""
    grid = grid_of(tiny, "none")
    (done,) = run(grid, tiny)
    assert done.trial is not None
    ranks = [ResultStore(tiny.results).ranks(done.key, seen) for seen in ("rank", "mask")]
    outcome = Outcome(metrics=done.metrics, segments={}, ranks=ranks[0], masked_ranks=ranks[1])
    store = ResultStore(tiny.home / "shared")
    if again:
        store.write(failed(done.trial, "out-of-memory", "too big"))

    def write_theirs(*_: object) -> None:
        theirs = done if status == "done" else failed(done.trial, status, "theirs")
        store.write(theirs, outcome if theirs.is_done else None)

    def hear(line: str) -> None:
        assert "starts on" not in line

    monkeypatch.setattr(execution, "check_teachers", write_theirs)
    options = {"device": "cpu", "threads": 1, "retry_failed": again}
    with listening(hear):
        (found,) = run_grid(grid, store, tiny, **options)
    assert found.status == status


def test_a_success_without_its_ranks_is_run_again(tiny: Workspace) -> None:
    grid = grid_of(tiny, "none")
    (done,) = run(grid, tiny)
    store = ResultStore(tiny.results)
    ranks = store.ranks(done.key)
    (tiny.results / done.key / "ranks.npy").unlink()
    (again,) = run(grid, tiny)
    assert again.metrics == done.metrics
    assert (store.ranks(done.key) == ranks).all()


def test_failures_stay_unless_they_are_to_be_tried_again(tiny: Workspace) -> None:
    grid = grid_of(tiny, "none")
    store = ResultStore(tiny.results)
    (done,) = run(grid, tiny)
    assert done.trial is not None
    shutil.rmtree(tiny.results / done.key)
    store.write(failed(done.trial, "out-of-memory", "too big"))
    (kept,) = run(grid, tiny)
    assert kept.status == "out-of-memory"
    (again,) = run(grid, tiny, retry_failed=True)
    assert again.metrics == done.metrics


@pytest.mark.parametrize("year", [1999, 2999])
def test_a_clock_that_is_wrong_neither_keeps_failures_nor_repeats_them(
    tiny: Workspace, monkeypatch: pytest.MonkeyPatch, year: int
) -> None:
    """Records are dated by whatever machine makes them."""
    grid, store = grid_of(tiny, "none"), ResultStore(tiny.results)
    Inputs(grid, tiny).prepare_data()
    (trial,) = identify(grid, tiny)
    assert trial is not None
    moments = (f"{year}-01-01T00:00:{second:02}" for second in itertools.count())
    dated = {"created": next(moments)}
    store.write(failed(trial, "lost-worker", "gone").model_copy(update=dated))

    def fails(*_: object) -> None:
        raise OutOfMemory("too big")

    monkeypatch.setattr("bench.execution.trial.run_trial", fails)
    write, lines = ResultStore.write, list[str]()

    def dated_write(self: ResultStore, record: Record, *rest: Any, **more: Any) -> None:
        write(self, record.model_copy(update={"created": next(moments)}), *rest, **more)

    monkeypatch.setattr(ResultStore, "write", dated_write)
    for again in (True, False):
        with listening(lines.append):
            (found,) = run_grid(grid, store, tiny, device="cpu", threads=1, retry_failed=again)
        assert found.status == "out-of-memory"
    assert sum("starts on" in line for line in lines) == 1


def test_a_worker_looks_again_for_what_others_have_let_go_of(tiny: Workspace) -> None:
    grid, store = grid_of(tiny, "none", seeds="0-1"), ResultStore(tiny.results)
    Inputs(grid, tiny).prepare_data()
    first, second = (trial for trial in identify(grid, tiny) if trial is not None)
    ran: list[Trial | None] = []
    with contextlib.ExitStack() as other:
        assert other.enter_context(store.claim(first.key))

        def watch(trial: Trial | None) -> None:
            ran.append(trial)
            other.close()

        task = Task([first, second], grid, store, tiny, "cpu", 1, Retry())
        run_trials(task, Inputs(grid, tiny), wait=False, watch=watch)
    assert ran == [second, None, first, None]


def test_a_disk_that_fills_up_stops_the_run_with_a_clear_message(tiny: Workspace) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def hear(line: str) -> None:
        if "starts on" in line:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))

    store = ResultStore(tiny.results)
    try:
        message = f"results folder {tiny.results} cannot be written"
        with pytest.raises(ConfigError, match=message), listening(hear):
            run_grid(grid_of(tiny, "none"), store, tiny, device="cpu", threads=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [record.kind for record in store.records()] == ["reference"] * REFERENCES
    assert list((tiny.results / ".claims").iterdir()) == []


def test_users_of_other_examples_are_replaced(tiny: Workspace) -> None:
    (record,) = run(grid_of(tiny, "none"), tiny)
    assert record.trial is not None
    store, fingerprint = ResultStore(tiny.results), record.trial.data_fingerprint
    users = store.users(fingerprint)
    assert users is not None
    store.write_users(fingerprint, users[::-1])
    run(grid_of(tiny, "none"), tiny)
    assert ResultStore(tiny.results).users(fingerprint).tolist() == users.tolist()


@pytest.mark.parametrize("damage", [None, b"", b"no array"])
def test_users_that_are_not_there_are_stored_though_all_has_run(
    tiny: Workspace, damage: bytes | None
) -> None:
    grid = grid_of(tiny, "none")
    (record,) = run(grid, tiny)
    assert record.trial is not None
    fingerprint = record.trial.data_fingerprint
    path = tiny.results / "users" / f"{fingerprint}.npy"
    whole = path.read_bytes()
    path.unlink() if damage is None else path.write_bytes(damage)
    assert ResultStore(tiny.results).users(fingerprint) is None
    run(grid, tiny)
    assert path.read_bytes() == whole


def test_a_reference_that_another_process_writes_is_waited_for(tiny: Workspace) -> None:
    grid = grid_of(tiny, "none")
    (record,) = run(grid, tiny)
    row = reference(tiny, grid, "popularity")
    store = ResultStore(tiny.results)
    first = store.get(row.key)
    assert first is not None
    outcome = Outcome(metrics=first.metrics, segments={}, ranks=store.ranks(row.key))
    shutil.rmtree(tiny.results / row.key)
    found: list[Record] = []
    with store.claim(row.key) as granted:
        assert granted
        thread = threading.Thread(target=lambda: found.extend(run(grid, tiny)))
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        store.write(finished(row, outcome, {"by": "the other"}), outcome)
    thread.join(60)
    assert found == [record]
    kept = store.get(row.key)
    assert kept is not None and kept.environment == {"by": "the other"}
