"""Records follow their methods' code to new keys, where the golden trials say so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.plan import Reference, Trial
from bench.records.pack import pack
from bench.records.record import Outcome, Record, finished
from bench.records.store import ResultStore
from bench.registry import METHODS
from bench.students.config import StudentConfig
from bench.training.config import TrainingConfig

from .rekey import rekey

OUTCOME = Outcome(
    metrics={"test": {"hr@1": 1 / 3}},
    segments={},
    ranks=np.array([1, 3, 2], dtype=np.int32),
    curve=[{"epoch": 1, "loss": 1.5}],
)


def trial(method: str, code: str) -> Trial:
    return Trial(
        dataset="d",
        protocol="temporal-10",
        data_fingerprint="f",
        student="s",
        student_config=StudentConfig(model="SASRec"),
        training=TrainingConfig(),
        method=method,
        method_code=code,
        seed=0,
    )


@pytest.fixture
def packed(tmp_path: Path) -> ResultStore:
    """Records of `none` and `rd` by the code of another day, and a reference."""
    store = ResultStore(tmp_path / "results")
    reference = Reference(dataset="d", protocol="p", name="popularity", data_fingerprint="f")
    for subject in (trial("none", "before"), trial("rd", "before"), reference):
        store.write(finished(subject, OUTCOME), OUTCOME)
    store.write_users("f", np.array([4, 4, 7]))
    (path,) = pack(store)
    return ResultStore(path)


def by_name(store: ResultStore) -> dict[str, Record]:
    return {getattr(r.subject, "method", None) or r.subject.name: r for r in store.records()}


def test_what_computes_the_same_has_todays_key_and_is_the_same_else(packed: ResultStore) -> None:
    before = by_name(packed)
    assert rekey(packed.folder, moved=()) == {"new": 2, "same": 1}
    after = ResultStore(packed.folder)
    assert by_name(after)["popularity"] == before["popularity"]
    for method in ("none", "rd"):
        today = trial(method, METHODS.get(method).code_digest)
        record = by_name(after)[method]
        assert record == before[method].model_copy(update={"key": today.key, "trial": today})
        assert after.ranks(record.key).tolist() == [1, 3, 2]
        curve = after.place(record.key, "curve.csv")
        assert curve is not None and curve.read_text() == "epoch,loss\n1,1.5\n"
    users = after.users("f")
    assert users is not None and users.tolist() == [4, 4, 7]


def test_once_more_changes_nothing(packed: ResultStore) -> None:
    rekey(packed.folder, moved=())
    before = packed.folder.read_bytes()
    assert rekey(packed.folder, moved=()) == {"same": 3}
    assert packed.folder.read_bytes() == before


@pytest.mark.parametrize(("moved", "kept"), [("rd", {"rd"}), ("none", {"rd", "none"})])
def test_what_moved_stays_what_it_was(packed: ResultStore, moved: str, kept: set[str]) -> None:
    before = by_name(packed)
    rekey(packed.folder, {moved})
    after = by_name(ResultStore(packed.folder))
    assert {method for method in ("none", "rd") if after[method] == before[method]} == kept
