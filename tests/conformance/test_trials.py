"""What holds for a trial whatever its method."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.examples import Examples, PreparedData
from bench.distillation import Knowledge, Method
from bench.evaluation.metrics import metrics_from_ranks
from bench.evaluation.ranking import rank_targets
from bench.execution.finished import load_student
from bench.execution.trial import run_trial
from bench.records.export import export_checkpoint
from bench.records.record import Outcome, finished
from bench.records.store import ResultStore
from bench.registry import METHODS
from bench.students.adapter import Adapter
from bench.training.rows import DeviceRows

from .conftest import N_ITEMS, READ_WHOLE, STUDENTS, make_trial, pairs, rows, run

TRAINING = {"max_epochs": 6, "min_epochs": 6, "learning_rate": 0.02}


ALL = [entry.name for entry in METHODS]


@pytest.mark.parametrize("method", ALL)
def test_test_rows_have_no_say_in_training_and_validation_rows_only_choose(
    method: str, data: PreparedData, knowledge: Knowledge
) -> None:
    def outcome(**changed: Examples) -> Outcome:
        return run(make_trial(method, training=TRAINING), replace(data, **changed), knowledge)

    first, other_test = outcome(), outcome(test=rows(60, seed=77))
    assert first.best_epoch == other_test.best_epoch
    assert all(np.array_equal(first.state[k], other_test.state[k]) for k in first.state)
    assert first.metrics["valid"] == other_test.metrics["valid"]
    assert not np.array_equal(first.ranks, other_test.ranks)
    # A later stage begins with the epoch that was chosen of the one before.
    other_valid = outcome(valid=rows(40, seed=78))
    begins = [[e["loss"] for e in made.curve if e["stage"] == 1] for made in (first, other_valid)]
    # `profile` says itself how long its first stage is (`warm`).
    longest = {"profile": 10}.get(method, TRAINING["max_epochs"])
    assert begins[0] == begins[1] and len(begins[0]) == longest
    assert first.metrics["valid"] != other_valid.metrics["valid"]


def test_validation_rows_choose_the_epoch(data: PreparedData) -> None:
    trial = make_trial("none", training=TRAINING)
    outcome = run(trial, data, None)
    curve = [epoch["ndcg@20"] for epoch in outcome.curve]
    assert outcome.best_epoch == 1 + int(np.argmax(curve))
    assert outcome.metrics["valid"]["ndcg@20"] == pytest.approx(max(curve), abs=1e-6)


def test_epochs_are_chosen_on_a_sample_of_validation_where_asked(data: PreparedData) -> None:
    def of(count: int, seed: int = 0) -> Outcome:
        training = TRAINING | {"validation_rows": count}
        return run(make_trial("none", training=training, seed=seed), data, None)

    whole, few = run(make_trial("none", training=TRAINING), data, None), of(7)
    times = {"train_seconds", "evaluate_seconds", "train_cpu_seconds"}

    def numbers(outcome: Outcome) -> list[dict[str, float]]:
        return [{k: v for k, v in epoch.items() if k not in times} for epoch in outcome.curve]

    assert numbers(of(len(data.valid))) == numbers(whole) == numbers(of(len(data.valid) + 1))
    assert [epoch["loss"] for epoch in few.curve] == [epoch["loss"] for epoch in whole.curve]
    hits = np.array([epoch["hr@20"] for epoch in few.curve]) * 7
    np.testing.assert_allclose(hits, hits.round(), atol=1e-6)
    assert few.best_epoch == 1 + int(np.argmax([epoch["ndcg@20"] for epoch in few.curve]))
    assert few.metrics["valid"]["hr@20"] * len(data.valid) % 1 == pytest.approx(0, abs=1e-6)
    table = DeviceRows.of(data.valid, torch.device("cpu"))
    assert torch.equal(table.sample(7, 5).target, table.sample(7, 5).target)
    assert not torch.equal(table.sample(7, 5).target, table.sample(7, 6).target)


def test_the_oracle_rule_reads_the_test_rows_instead(data: PreparedData) -> None:
    trial = make_trial("none", training=TRAINING | {"selection": "oracle"})
    outcome = run(trial, data, None)
    curve = [epoch["ndcg@20"] for epoch in outcome.curve]
    assert outcome.metrics["test"]["ndcg@20"] == pytest.approx(max(curve), abs=1e-6)


@pytest.mark.parametrize(("method", "model"), pairs([*STUDENTS, *READ_WHOLE]))
def test_the_stored_student_gives_the_stored_ranks(
    method: str, model: str, data: PreparedData, knowledge: Knowledge, tmp_path: Path
) -> None:
    trial = make_trial(method, model)
    outcome = run(trial, data, knowledge)
    store, record = ResultStore(tmp_path), finished(trial, outcome)
    store.write(record, outcome)
    student = load_student(record, store, data)
    ranks = rank_targets(student, DeviceRows.of(data.test, torch.device("cpu")))
    np.testing.assert_array_equal(ranks, outcome.ranks)
    assert metrics_from_ranks(outcome.ranks) == outcome.metrics["test"]
    # Folding changed nothing: the epoch was chosen before it, the validation rows ranked after.
    assert outcome.best_epoch is not None
    chosen = outcome.curve[outcome.best_epoch - 1]
    for name, value in outcome.metrics["valid"].items():
        assert chosen[name] == pytest.approx(value, abs=1e-9)


RANKING = """
import importlib, sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np, torch, torch.nn.functional as F

folder = Path(sys.argv[1])
test = np.load(folder / "test.npz")
test = {name: torch.from_numpy(test[name]).long() for name in test}
for path in folder.glob("*.pth"):
    saved = torch.load(path, weights_only=True)
    name = saved["config"]["model"]
    module = importlib.import_module(f"recbole.model.sequential_recommender.{name.lower()}")
    counts = {"item_id": len(saved["item_tokens"]), "user_id": len(saved["user_tokens"])}
    catalogue = SimpleNamespace(num=counts.get, user_num=counts["user_id"])
    model = getattr(module, name)(saved["config"], catalogue).eval()
    model.load_state_dict(saved["state_dict"])
    history, length = test["history"], test["length"]
    if name == "BERT4Rec":  # RecBole drops the oldest item
        history, length = F.pad(history, (1, 0)), length + 1
    row = {"item_id_list": history, "item_length": length, "user_id": test["user"] + 1}
    with torch.no_grad():
        scores = model.full_sort_predict(row).view(len(length), -1)[:, 1:]
    wanted = scores.gather(1, test["target"].unsqueeze(1) - 1)
    np.save(path.with_suffix(".npy"), (scores >= wanted).sum(dim=1).numpy())
"""
"""What whoever has RecBole and the files alone could write."""


def test_recbole_ranks_with_exported_students_as_they_were_ranked(
    data: PreparedData, knowledge: Knowledge, tmp_path: Path
) -> None:
    # Half of the users have no training rows, and test rows all the same.
    data = replace(data, train=replace(data.train, user=data.train.user // 2))
    store, ranked = ResultStore(tmp_path / "results"), {}
    for model in (*STUDENTS, *READ_WHOLE):
        trial = make_trial("rd", model)
        outcome = run(trial, data, knowledge)
        record = finished(trial, outcome)
        store.write(record, outcome)
        path = export_checkpoint(record, store, data, tmp_path / f"{model}.pth")
        ranked[path.with_suffix(".npy")] = outcome.ranks
    columns = ("history", "length", "user", "target")
    np.savez(tmp_path / "test.npz", **{name: getattr(data.test, name) for name in columns})
    subprocess.run([sys.executable, "-c", RANKING, str(tmp_path)], check=True)  # noqa: S603
    for path, ranks in ranked.items():
        np.testing.assert_array_equal(np.load(path), ranks, err_msg=path.stem)


class NoisyFusion(Method):
    """A method with dropout of its own in what it fuses into the item table."""

    def attach(self, student: Adapter, knowledge: Knowledge) -> None:
        self.shift = torch.nn.Parameter(torch.ones(N_ITEMS + 1, student.width))
        self.dropout = torch.nn.Dropout(0.5)
        student.fuse(lambda which: self.dropout(self.shift[which]))


def test_a_methods_own_dropout_is_off_when_its_student_is_judged_and_folded(
    data: PreparedData,
) -> None:
    still = {"max_epochs": 1, "learning_rate": 1e-30, "weight_decay": 0.0}
    trial = make_trial("none", training=still)
    plain = run(trial, data, None)
    noisy = run_trial(trial, data, None, NoisyFusion, "cpu")
    table = noisy.state["item_embedding.weight"] - plain.state["item_embedding.weight"]
    np.testing.assert_allclose(table[1:], 1.0, rtol=1e-5)
    curve, final = noisy.curve[0]["ndcg@20"], noisy.metrics["valid"]["ndcg@20"]
    assert curve == pytest.approx(final, abs=1e-9)


def test_a_record_keeps_what_was_derived_from_the_teacher(
    data: PreparedData, knowledge: Knowledge
) -> None:
    derived = run(make_trial("dllm2rec"), data, knowledge).settings["derived"]
    expected = float(knowledge.distances[:, :10].std())
    assert derived["ranking"]["confidence_temperature"] == pytest.approx(expected)
    assert derived["ranking"]["top_k"] == 10


def test_a_record_keeps_how_many_steps_were_taken_and_of_how_many_rows_the_teacher_spoke(
    data: PreparedData, knowledge: Knowledge
) -> None:
    trial = make_trial("soft-label", training=TRAINING)
    covered = torch.arange(len(data.train)) % 3 > 0
    record = finished(trial, run(trial, data, replace(knowledge, covered=covered)))
    batches = -(-len(data.train) // trial.training.batch_size)
    assert record.steps == TRAINING["max_epochs"] * batches
    assert record.teacher == {"rows": len(data.train), "covered": int(covered.sum())}


def test_robust_terms_of_a_list_have_the_temperature_of_the_objective(
    data: PreparedData, knowledge: Knowledge
) -> None:
    # Without the objective's own robust term, only that of the list can tell two temperatures.
    for robust, differ in (("correct", True), ("none", False)):
        made = [
            run(
                make_trial(
                    "ranking-only",
                    settings={"robust": robust},
                    training={"objective": "dros", "dros_weight": 0.0, "dros_temperature": t},
                ),
                data,
                knowledge,
            )
            for t in (1.0, 4.0)
        ]
        assert (made[0].curve[-1]["loss"] != made[1].curve[-1]["loss"]) == differ


def test_methods_of_a_cell_see_the_same_batches_and_start(
    data: PreparedData, knowledge: Knowledge
) -> None:
    # After one epoch at a vanishing step size the students still are what they started as.
    still = {"max_epochs": 1, "learning_rate": 1e-30}
    none = run(make_trial("none", training=still), data, None)
    taught = run(make_trial("ranking-only", training=still), data, knowledge)
    for name, tensor in none.state.items():
        np.testing.assert_allclose(tensor, taught.state[name], rtol=0, atol=1e-20)
    assert none.curve[0]["base"] == taught.curve[0]["base"]


def test_a_curriculum_is_in_the_curve(
    data: PreparedData, knowledge: Knowledge, tmp_path: Path
) -> None:
    training = {"max_epochs": 15, "min_epochs": 15}
    trial = make_trial("hetcomp", training=training)
    outcome = run(trial, data, knowledge)
    store = ResultStore(tmp_path)
    store.write(finished(trial, outcome), outcome)
    curve = np.genfromtxt(tmp_path / trial.key / "curve.csv", delimiter=",", names=True)
    states = np.stack([curve[f"state_{name}"] for name in knowledge.trajectory_names])
    assert (np.diff(states, axis=1) >= 0).all()
    assert (states[:, 0] == 0).all()
    strict = curve["phase"] == 2
    assert strict[-1] and not strict[0]
    assert (states[:, strict] == 2).all()  # the last of three states
    assert (np.diff(strict.astype(int)) >= 0).all()
