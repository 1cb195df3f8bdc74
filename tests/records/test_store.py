"""Records: whole or absent, whoever writes and whenever it is killed."""

import json
import logging
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from bench.errors import ConfigError, DataError, Diverged
from bench.evaluation.metrics import metrics_from_ranks
from bench.paths import SHIPPED
from bench.plan import Reference, Trial
from bench.records.record import Outcome, Record, failed, finished
from bench.records.store import ResultStore
from bench.students.config import StudentConfig
from bench.training.config import TrainingConfig

RANKS = np.array([1, 3, 2], dtype=np.int32)


def make_trial(seed: int = 0) -> Trial:
    return Trial(
        dataset="d",
        protocol="temporal-10",
        data_fingerprint="f",
        student="s",
        student_config=StudentConfig(model="SASRec"),
        training=TrainingConfig(),
        method="none",
        method_code="c",
        seed=seed,
    )


def make_outcome(value: float = 0.5, **changes: object) -> Outcome:
    fields = {
        "metrics": {"valid": {"ndcg@20": value}, "test": metrics_from_ranks(RANKS)},
        "segments": {"cold": {"rows": 0, "ndcg@20": float("nan")}},
        "ranks": RANKS,
        "curve": [{"epoch": 1, "loss": 1.5}, {"epoch": 2, "loss": 1.0, "ndcg@20": 0.1}],
        "log": [{"event": "start"}, {"event": "end", "value": float("inf")}],
        "state": {"w": np.eye(3, dtype=np.float32)},
        "timings": {"train_seconds": 2.0},
    }
    return Outcome(**{**fields, **changes})


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "results")


def write(store: ResultStore, seed: int = 0) -> Record:
    outcome = make_outcome()
    record = finished(make_trial(seed), outcome, {"device": "cpu"})
    store.write(record, outcome)
    return record


def test_what_is_written_is_read(store: ResultStore) -> None:
    record = write(store)
    assert store.get(record.key) == record
    assert store.records() == [record]
    assert record.trial is not None and record.trial.key == record.key
    assert store.ranks(record.key).tolist() == [1, 3, 2]
    folder = store.folder / record.key
    assert (folder / "curve.csv").read_text() == "epoch,loss,ndcg@20\n1,1.5,\n2,1.0,0.1\n"
    assert load_file(folder / "student.safetensors")["w"].tolist() == np.eye(3).tolist()
    events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert events == [{"event": "start"}, {"event": "end", "value": None}]
    assert {path.name for path in store.folder.iterdir()} == {record.key}


def test_a_record_is_strict_json(store: ResultStore) -> None:
    record = write(store)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = (store.folder / record.key / "record.json").read_text()
    content = json.loads(text, parse_constant=refuse)
    assert content["segments"]["cold"] == {"rows": 0, "ndcg@20": None}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_that_is_no_number_is_no_result(value: float) -> None:
    with pytest.raises(Diverged, match=r"valid ndcg@20 is"):
        finished(make_trial(), make_outcome(value))


def test_a_rank_below_one_is_no_result() -> None:
    with pytest.raises(Diverged, match="rank 0"):
        finished(make_trial(), make_outcome(ranks=np.array([1, 0], dtype=np.int32)))


def test_a_reference_is_a_record(store: ResultStore) -> None:
    reference = Reference(
        dataset="d", protocol="temporal-10", name="popularity", data_fingerprint="f"
    )
    record = finished(reference, make_outcome())
    store.write(record, make_outcome())
    assert store.get(reference.key) == record
    assert record.kind == "reference"


def test_a_failure_is_a_record_that_a_success_replaces(store: ResultStore) -> None:
    record = failed(make_trial(), "diverged", "the loss became nan")
    store.write(record)
    assert store.get(record.key) == record
    with pytest.raises(DataError, match="no ranks"):
        store.ranks(record.key)
    success = write(store)
    assert store.get(record.key) == success
    store.write(record)
    assert store.get(record.key) == success, "a success is never replaced"
    assert {path.name for path in store.folder.iterdir()} == {record.key}


def edit(folder: Path, change: Callable[[dict], object]) -> None:
    content = json.loads((folder / "record.json").read_text())
    change(content)
    (folder / "record.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "record.json").write_text("{"),
        lambda folder: (folder / "record.json").write_bytes(b"\xff\xfe"),
        lambda folder: (folder / "record.json").write_text("{}"),
        lambda folder: (folder / "record.json").unlink(),
        lambda folder: (folder / "ranks.npy").unlink(),
        lambda folder: (folder / "ranks.npy").write_bytes(b""),
        lambda folder: os.truncate(folder / "ranks.npy", 130),
        lambda folder: np.save(folder / "ranks.npy", np.ones((3, 1), dtype=np.int32)),
        lambda folder: np.save(folder / "ranks.npy", np.ones(3)),
        lambda folder: np.save(folder / "ranks.npy", np.ones(0, dtype=np.int32)),
        lambda folder: np.save(folder / "ranks.npy", RANKS - 1),
        lambda folder: np.save(folder / "ranks.npy", RANKS[::-1]),
        lambda folder: np.save(folder / "ranks.npy", RANKS + 100),
        lambda folder: edit(folder, lambda record: record["metrics"]["test"].update({"hr@1": 0.5})),
        lambda folder: edit(folder, lambda record: record["trial"].update(seed=7)),
        lambda folder: edit(folder, lambda record: record["trial"].pop("method")),
        lambda folder: edit(folder, lambda record: record.pop("status")),
        lambda folder: edit(folder, lambda record: record.update(epochs="many")),
    ],
    ids=[
        "truncated",
        "binary",
        "empty",
        "missing",
        "no ranks",
        "empty ranks",
        "truncated ranks",
        "ranks in columns",
        "ranks that are no integers",
        "ranks of no rows",
        "ranks below 1",
        "ranks of another order",
        "other ranks",
        "another metric",
        "settings of another key",
        "no method",
        "no status",
        "words for a number",
    ],
)
def test_a_damaged_record_is_one_warning_and_absent(
    store: ResultStore, caplog: pytest.LogCaptureFixture, damage: object
) -> None:
    record = write(store)
    other = write(store, seed=1)
    damage(store.folder / record.key)  # type: ignore[operator]
    with caplog.at_level(logging.WARNING):
        assert store.records() == [other]
        assert store.get(record.key) is None
    assert len(caplog.messages) == 1
    assert str(store.folder / record.key) in caplog.messages[0]
    write(store)
    assert store.get(record.key) is not None
    assert store.ranks(record.key).tolist() == [1, 3, 2]


def test_a_record_under_a_foreign_key_is_not_believed(store: ResultStore) -> None:
    record = write(store)
    stranger = "0" * 64
    (store.folder / record.key).rename(store.folder / stranger)
    assert store.get(stranger) is None


def test_ranks_of_another_record_with_the_same_metrics_are_not_believed(store: ResultStore) -> None:
    """Ranks beyond the last cutoff are in no metric; their hash tells them apart."""
    ranks = np.array([1, 300, 2], dtype=np.int32)
    record = finished(
        make_trial(), make_outcome(ranks=ranks, metrics={"test": metrics_from_ranks(ranks)})
    )
    store.write(record, make_outcome(ranks=ranks, metrics={"test": metrics_from_ranks(ranks)}))
    assert store.get(record.key) is not None
    np.save(store.folder / record.key / "ranks.npy", ranks + np.array([0, 1, 0], dtype=np.int32))
    assert ResultStore(store.folder).get(record.key) is None


@pytest.mark.parametrize("users", [np.array([-1, 0]), np.ones(3), np.ones((2, 2), dtype=np.int32)])
def test_users_that_are_none_are_one_warning(
    store: ResultStore, users: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    store.write_users("f", np.zeros(3))
    np.save(store.folder / "users" / "f.npy", users)
    assert store.users("f") is None and store.users("f") is None
    assert len(caplog.messages) == 1 and "`bench run`" in caplog.messages[0]


def test_damaged_ranks_are_named(store: ResultStore) -> None:
    record = write(store)
    path = store.folder / record.key / "ranks.npy"
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(DataError, match=r"ranks\.npy"):
        store.ranks(record.key)


def test_an_unwritable_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(ConfigError, match="cannot be written to"):
        ResultStore(tmp_path / "results").check_writable()


def test_looking_whether_it_is_writable_leaves_nothing(store: ResultStore) -> None:
    store.check_writable()
    assert list(store.folder.iterdir()) == []


def test_a_claim_is_granted_once(store: ResultStore) -> None:
    with store.claim("a" * 64) as first, ResultStore(store.folder).claim("a" * 64) as second:
        assert first and not second
        with store.claim("b" * 64) as other:
            assert other
    with store.claim("a" * 64) as again:
        assert again
    assert list((store.folder / ".claims").iterdir()) == []


def python(code: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd=SHIPPED,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_claim_dies_with_its_process(store: ResultStore) -> None:
    code = """
        import sys, time; from pathlib import Path
        from bench.records.store import ResultStore
        with ResultStore(Path(sys.argv[1])).claim("a" * 64) as granted:
            print(granted, flush=True)
            time.sleep(60)
    """
    holder = python(code, store.folder)
    assert holder.stdout is not None and holder.stdout.readline() == "True\n"
    with store.claim("a" * 64) as granted:
        assert not granted
    holder.kill()
    holder.communicate()
    with store.claim("a" * 64) as granted:
        assert granted


WRITER = """
    import sys; from pathlib import Path
    import numpy as np
    from bench.plan import Reference
    from bench.records.record import Outcome, finished
    from bench.records.store import ResultStore
    store = ResultStore(Path(sys.argv[1]))
    outcome = Outcome(
        metrics={"test": {"ndcg@20": 1.0}},
        segments={},
        ranks=np.ones(20_000, dtype=np.int32),
        curve=[{"epoch": epoch} for epoch in range(500)],
        state={"w": np.ones((100, 100), dtype=np.float32)},
    )
    print("ready", flush=True)
    for number in range(100_000):
        name = f"n{number % int(sys.argv[3])}"
        subject = Reference(
            dataset="d", protocol="p", name=name, data_fingerprint=sys.argv[2]
        )
        with store.claim(subject.key) as granted:
            if granted:
                store.write(finished(subject, outcome), outcome)
"""


def test_killed_while_writing_leaves_whole_records_only(store: ResultStore) -> None:
    delays = random.Random(0)  # noqa: S311
    for round_number in range(6):
        # Every write is of a new key, so that the kill falls into one.
        writer = python(WRITER, store.folder, round_number, 100_000)
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
        time.sleep(delays.uniform(0.0, 0.08))
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
    keys = {path.name for path in store.folder.iterdir() if not path.name.startswith(".")}
    records = store.records()
    assert records
    assert {record.key for record in records} == keys
    for record in records:
        assert len(store.ranks(record.key)) == 20_000
        assert load_file(store.folder / record.key / "student.safetensors")["w"].sum() == 10_000


def test_what_a_killed_writer_left_is_swept_by_the_next(store: ResultStore) -> None:
    key = make_trial().key
    leftover = store.folder / f".{key}.building-0123abcd"
    leftover.mkdir(parents=True)
    (leftover / "ranks.npy").write_bytes(b"half")
    with store.claim(key) as granted:
        assert granted
    assert not leftover.exists()


@pytest.mark.parametrize("place", [".", "users", ".plans"])
def test_files_that_killed_writers_left_are_swept(store: ResultStore, place: str) -> None:
    kept, leftover = (store.folder / place / name for name in ("x", ".x.writing-0123abcd"))
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(b"whole")
    leftover.write_bytes(b"half")
    store.sweep()
    assert kept.exists() and not leftover.exists()


def test_two_writers_of_one_key_do_no_harm(store: ResultStore) -> None:
    writers = [python(WRITER.replace("100_000", "60"), store.folder, "same", 7) for _ in range(2)]
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    assert len(store.records()) == 7
    assert {p.name for p in store.folder.iterdir() if p.name != ".claims"} == {
        record.key for record in store.records()
    }


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may grow beyond 10 bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_a_clear_message_and_leaves_nothing(store: ResultStore) -> None:
    with pytest.raises(ConfigError, match=f"results folder {store.folder} cannot be written to: "):
        write(store)
    assert list(store.folder.iterdir()) == []


def test_a_claim_that_cannot_be_written_is_a_clear_message(store: ResultStore) -> None:
    store.folder.write_text("a file where a folder should be")
    with (
        pytest.raises(ConfigError, match=f"results folder {store.folder} cannot be written to: "),
        store.claim("0" * 64),
    ):
        raise AssertionError("granted")


def test_two_that_write_one_record_at_a_time_leave_one_and_raise_nothing(
    store: ResultStore,
) -> None:
    outcome = make_outcome()
    code = """
        import sys, time
        from pathlib import Path
        from tests.records.test_store import ResultStore, finished, make_outcome, make_trial
        store, begin = ResultStore(Path(sys.argv[1])), float(sys.argv[2])
        outcome = make_outcome()
        for seed in range(40):
            time.sleep(max(0.0, begin + seed / 20 - time.time()))
            store.write(finished(make_trial(seed), outcome), outcome)
    """
    begin = time.time() + 2
    writers = [python(code, store.folder, begin) for _ in range(3)]
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    found = store.records()
    assert sorted(record.trial.seed for record in found if record.trial) == list(range(40))
    assert len(list(store.folder.iterdir())) == 40
    assert (store.ranks(found[0].key) == outcome.ranks).all()


@pytest.mark.parametrize("name", ["record.json", "ranks.npy"])
@pytest.mark.parametrize("what", ["pipe", "device", "hole"])
def test_a_file_that_never_ends_is_a_damaged_record(
    store: ResultStore, name: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each would hang, or fill the memory: a folder of anybody's may hold it."""
    outcome = make_outcome()
    record = finished(make_trial(), outcome)
    store.write(record, outcome)
    path = store.folder / record.key / name
    path.unlink()
    if what == "pipe":
        os.mkfifo(path)
    elif what == "device":
        path.symlink_to("/dev/zero")
    else:
        with path.open("wb") as stream:
            stream.truncate(1 << 40)
    assert store.get(record.key) is None
    assert name in caplog.text
