"""The ensemble learns from training rows alone, and its lists are what its members say."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import layers
from bench.data.examples import Examples, PreparedData
from bench.errors import BenchError, ConfigError
from bench.evaluation.metrics import metrics_from_ranks
from bench.evaluation.ranking import rank_targets as rank_student
from bench.paths import Workspace
from bench.teachers.builder import Product, resolved_options
from bench.teachers.config import TeacherConfig
from bench.teachers.contract import check
from bench.teachers.kinds.ensemble import EnsembleOptions, EnsembleTeacher, make_members
from bench.teachers.knowledge import load_knowledge
from bench.teachers.manifest import read_manifest
from bench.teachers.recommenders import members as members_module
from bench.teachers.recommenders.lists import combined, listed, rank_targets
from bench.teachers.recommenders.members import Member, Trained
from bench.teachers.rows import hold_out
from bench.teachers.summary import summarise
from bench.training.rows import DeviceRows

from ...listening import listening

TRAINING = {"batch_size": 32, "learning_rate": 0.01, "max_epochs": 6, "min_epochs": 1}
SMALL = {"n_layers": 1, "n_heads": 2, "hidden_size": 16, "inner_size": 16}
RAW = {
    "kind": "ensemble",
    "options": {
        "list_length": 8,
        "max_epochs": 6,
        "members": {
            "sasrec": {"parameters": SMALL, "training": TRAINING},
            "gru4rec": {
                "parameters": {"embedding_size": 16, "hidden_size": 16},
                "training": TRAINING,
            },
            "caser": {"parameters": {"embedding_size": 8}, "training": TRAINING},
            "bert4rec": {"model": "BERT4Rec", "parameters": SMALL, "training": TRAINING},
            "item-knn": {"model": "ItemKNN", "parameters": {"neighbours": 5}},
            "markov": {"model": "MarkovChain"},
        },
    },
}
NAMES = list(RAW["options"]["members"])  # type: ignore[call-overload]


def options_of(changes: dict[str, Any] | None = None) -> EnsembleOptions:
    config = TeacherConfig.model_validate(layers.merge(RAW, {"options": changes or {}}))
    options = resolved_options(config, "toy", Workspace(Path("nowhere")), "options")
    assert isinstance(options, EnsembleOptions)
    return options


def made(data: PreparedData, options: EnsembleOptions) -> list[Member]:
    return make_members(options, data.train, data.n_items, data.n_users, "cpu")


@pytest.fixture(scope="module")
def small() -> EnsembleOptions:
    return options_of()


@pytest.fixture(scope="module")
def trained(toy: PreparedData, small: EnsembleOptions) -> list[Member]:
    return made(toy, small)


@pytest.fixture(scope="module")
def product(toy: PreparedData, small: EnsembleOptions) -> Product:
    return EnsembleTeacher.build(small, toy, Path("nowhere"), "cpu")


def scores_of(member: Member, rows: Examples) -> np.ndarray:
    """Scores [R, N] of all rows at once."""
    columns = (torch.from_numpy(c).long() for c in (rows.history, rows.length, rows.user))
    with torch.no_grad():
        return member.scores(*columns).double().numpy()


# -- the states of a training ----------------------------------------------------------------------


def test_a_state_is_the_model_of_its_epoch(
    trained: list[Member], toy: PreparedData, small: EnsembleOptions
) -> None:
    _, held_out = hold_out(toy.train, small.held_out, small.seed)
    judges = DeviceRows.of(held_out, torch.device("cpu"))
    different = 0
    for member in trained:
        if not isinstance(member, Trained):
            assert member.states == [0, 0, 0, 0]
            continue
        curve = member.story["held_out_ndcg@20_by_epoch"]
        assert len(curve) == member.story["epochs_run"] <= 6
        for state, epoch in zip(member.states, member.story["epochs_of_states"], strict=True):
            member.load(state)
            value = metrics_from_ranks(rank_student(member.student, judges))["ndcg@20"]
            assert value == pytest.approx(curve[epoch - 1], abs=1e-5)
        assert curve[member.story["epochs_of_states"][-1] - 1] == max(curve)
        different += len(set(member.states)) > 1
        assert not member.student.training
    assert different >= 2


def test_training_stops_when_it_no_longer_gets_better(toy: PreparedData) -> None:
    changes = {"patience": 2, "members": {"caser": {"training": {"max_epochs": 40}}}}
    options = options_of(changes)
    only = options.model_copy(update={"members": {"caser": options.members["caser"]}})
    (caser,) = made(toy, only)
    curve = caser.story["held_out_ndcg@20_by_epoch"]
    assert len(curve) < 40 and len(curve) == 1 + int(np.argmax(curve)) + 2


class Forbidden:
    """Rows that must not be looked at."""

    def __len__(self) -> int:
        return self.__getattr__("len")

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"'{name}' of held-out rows was read in training")


def test_validation_and_test_rows_are_not_read_in_training(
    make_data: Callable[..., PreparedData], small: EnsembleOptions
) -> None:
    options = small.model_copy(update={"members": dict(list(small.members.items())[2:])})
    data = make_data(valid=Forbidden(), test=Forbidden())
    seen: list[str] = []
    # Its own metrics do read them.
    with pytest.raises(AssertionError, match="held-out"), listening(seen.append):
        EnsembleTeacher.build(options, data, Path("nowhere"), "cpu")
    # All lists had been made by then.
    (lists,) = (line for line in seen if line.startswith("lists of saved states: "))
    done, total = re.findall(r"([0-9,]+) of ([0-9,]+) rows", lists)[0]
    assert done == total


def test_other_validation_and_test_rows_make_the_same_knowledge(
    make_data: Callable[..., PreparedData], product: Product, small: EnsembleOptions
) -> None:
    plain = make_data()
    swapped = make_data(valid=plain.test, test=plain.valid)
    other = EnsembleTeacher.build(small, swapped, Path("nowhere"), "cpu")
    np.testing.assert_array_equal(other.trajectories, product.trajectories)
    np.testing.assert_array_equal(other.rankings, product.rankings)
    assert other.metrics["valid"] == product.metrics["test"]


# -- lists -----------------------------------------------------------------------------------------


def test_trajectories_are_what_each_state_says(
    trained: list[Member], toy: PreparedData, product: Product
) -> None:
    assert product.trajectories is not None and product.members == NAMES
    assert product.trajectories.shape == (6, 4, len(toy.train), 8)
    assert product.trajectories.dtype == np.int32
    for m, member in enumerate(trained):
        for c, state in enumerate(member.states):
            member.load(state)
            scores = scores_of(member, toy.train)
            lists = product.trajectories[m, c]
            listed_scores = np.take_along_axis(scores, lists - 1, axis=1)
            best = -np.sort(-scores, axis=1)[:, :8]
            np.testing.assert_allclose(listed_scores, best, rtol=1e-4, atol=1e-5)
            assert all(len(set(row)) == 8 for row in lists.tolist())
    history = toy.train.history[None, None, :, :, None]
    assert (product.trajectories[:, :, :, None, :] == history).any()  # nothing is left out


def test_the_combined_list_is_the_sum_of_importances(data: PreparedData) -> None:
    rows = data.train
    rows.target[:5] = rows.history[:5, 0]  # targets that were consumed before
    random = np.random.default_rng(4)
    lists = (random.random((3, len(rows), 30)).argsort(axis=2)[:, :, :14] + 1).astype(np.int32)
    ids, distances = combined(lists, rows, 30, "cpu")
    assert ids.shape == distances.shape == (len(rows), 30 - 4)
    for row in range(len(rows)):
        total = dict.fromkeys(range(1, 31), 0.0)
        for one in lists[:, row]:
            for rank, item in enumerate(one.tolist()):
                total[item] += math.exp(-rank / 10)
        for item in set(rows.history[row].tolist()) - {0, int(rows.target[row])}:
            del total[item]
        expected = sorted(3 - value for value in total.values())[:26]
        np.testing.assert_allclose(distances[row], expected, atol=1e-5)
        np.testing.assert_allclose([3 - total[item] for item in ids[row]], expected, atol=1e-5)
        assert len(set(ids[row].tolist())) == 26
    assert (np.diff(distances, axis=1) >= 0).all() and (distances >= 0).all()


def test_members_that_agree_are_sure(toy: PreparedData) -> None:
    same = np.tile(np.arange(1, 31, dtype=np.int32), (4, len(toy.train), 1))
    ids, distances = combined(same, toy.train, 30, "cpu")
    without = ~(toy.train.history == 1).any(axis=1) | (toy.train.target == 1)
    assert (ids[without, 0] == 1).all() and not distances[without, 0].any()


def test_a_catalogue_smaller_than_the_lists(trained: list[Member], toy: PreparedData) -> None:
    trajectories, converged = listed(trained, toy.train, 30, 64, "cpu")
    rankings, distances = combined(converged, toy.train, 30, "cpu")
    assert trajectories.shape[3] == converged.shape[2] == 30
    assert rankings.shape[1] == distances.shape[1] == 26


def test_ranks_of_members_and_of_all(trained: list[Member], toy: PreparedData) -> None:
    for member in trained:
        member.load(member.states[-1])
    ranks = rank_targets(trained, toy.test, "cpu")
    own = toy.test.target[:, None].astype(np.int64) - 1
    total = np.zeros((len(toy.test), 30))
    for member in trained:
        scores = scores_of(member, toy.test)
        expected = (scores >= np.take_along_axis(scores, own, 1)).sum(1)
        assert (np.abs(ranks[member.name].ranked - expected) <= 1).all()  # near ties round
        total += scores - np.log(np.exp(scores).sum(1, keepdims=True))
    expected = (total >= np.take_along_axis(total, own, 1)).sum(1)
    assert (np.abs(ranks[""].ranked - expected) <= 1).all()


# -- the whole -------------------------------------------------------------------------------------


def test_a_planted_rule_is_learned(product: Product, toy: PreparedData) -> None:
    assert product.metrics["test"]["hr@5"] > 4 * 5 / toy.n_items
    told = product.recipe["members"]
    assert list(told) == NAMES
    assert told["markov"]["metrics"]["test"]["ndcg@20"] > 0.9
    assert told["gru4rec"]["metrics"]["valid"]["hr@20"] > 20 / 30
    assert product.metrics["test"] == metrics_from_ranks(product.test_ranks)
    lists, targets = product.rankings, toy.train.target
    assert lists is not None
    share = (lists[:, :10] == targets[:, None]).any(1).mean()
    assert product.recipe["share_of_training_targets_in_top_10"] == pytest.approx(share, abs=1e-4)
    assert any("in-sample" in note for note in product.notes)


def test_same_seed_same_teacher_and_the_callers_randomness_is_left_alone(
    toy: PreparedData, small: EnsembleOptions, product: Product
) -> None:
    state = torch.get_rng_state()
    again = made(toy, small)
    assert torch.equal(torch.get_rng_state(), state)
    lists, converged = listed(again, toy.train, 30, 8, "cpu")
    rankings, _ = combined(converged, toy.train, 30, "cpu")
    np.testing.assert_array_equal(lists, product.trajectories)
    np.testing.assert_array_equal(lists[:, -1], converged[:, :, :8])
    np.testing.assert_array_equal(rankings, product.rankings)
    other = made(toy, small.model_copy(update={"seed": 1}))
    assert (listed(other, toy.train, 30, 8, "cpu")[0] != lists).any()


def test_what_is_built_can_be_read(toy: PreparedData, ensure: Callable[..., Path]) -> None:
    lines: list[str] = []
    with listening(lines.append):
        folder = ensure("several", RAW, toy)
    assert any("lists of saved states: " in line for line in lines)
    knowledge = load_knowledge(folder, toy)
    assert knowledge.embeddings is None and knowledge.trajectory_names == tuple(NAMES)
    assert knowledge.trajectories is not None and knowledge.rankings is not None
    assert knowledge.trajectories.dtype == torch.int32
    manifest = read_manifest(folder)
    assert manifest.signals == ["rankings", "confidence", "trajectories"]
    assert manifest.recipe["options"]["members"]["gru4rec"]["model"] == "GRU4Rec"
    told = summarise(check(folder, toy), toy)["trajectories"]
    assert (told["models"], told["states"], told["list_length"]) == (6, 4, 8)
    for m, name in enumerate(NAMES):
        lists = knowledge.trajectories[m].numpy()
        hits = (lists == toy.train.target[None, :, None]).any(2).mean(1)
        np.testing.assert_allclose(told["members"][name]["targets_in_top_10"], hits)
        assert told["members"][name]["shared_with_last"][-1] == 1.0
        assert 0 <= told["members"][name]["test"]["ndcg@20"] <= 1


def test_a_loss_that_is_no_number_is_an_error(
    toy: PreparedData, small: EnsembleOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = small.model_copy(update={"members": {"gru4rec": small.members["gru4rec"]}})
    plain = members_module.untrained

    def broken(*arguments: Any) -> Trained:
        member = plain(*arguments)
        with torch.no_grad():
            member.student.item_offset[3] = math.nan
        return member

    monkeypatch.setattr("bench.teachers.kinds.ensemble.untrained", broken)
    with pytest.raises(BenchError, match=r"recommender 'gru4rec': .*nan in epoch 1"):
        made(toy, only)


def test_bert4rec_says_what_recboles_own_does(trained: list[Member], toy: PreparedData) -> None:
    bert = next(member for member in trained if member.name == "bert4rec")
    assert isinstance(bert, Trained)
    model, rows = bert.student.model, toy.test
    with torch.no_grad():
        model.output_bias.copy_(torch.linspace(-1, 1, 31))
        history = torch.from_numpy(rows.history).long()
        # RecBole's own form drops the oldest item: one more is put before each history.
        interaction = {
            "item_id_list": torch.cat([torch.full((len(rows), 1), 7), history], dim=1),
            "item_length": torch.from_numpy(rows.length).long() + 1,
        }
        expected = model.full_sort_predict(interaction)[:, 1:]
        model.item_embedding.forget()
    np.testing.assert_allclose(scores_of(bert, rows), expected, rtol=1e-4, atol=1e-5)


# -- options ---------------------------------------------------------------------------------------


def test_members_are_the_students_of_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "configs" / "students"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(
        "model: GRU4Rec\nparameters: {hidden_size: 32, embedding_size: 16}\n"
        "training: {learning_rate: 0.5, max_epochs: 77}\n"
        "datasets: {toy: {parameters: {hidden_size: 48}, training: {batch_size: 9}}}\n"
    )
    config = TeacherConfig(
        kind="ensemble",
        options={
            "patience": 4,
            "members": {
                "mine": {"parameters": {"embedding_size": 8}, "training": {"min_epochs": 2}},
                "markov": {"model": "MarkovChain"},
            },
        },
    )
    options = resolved_options(config, "toy", Workspace(tmp_path), "options")
    assert isinstance(options, EnsembleOptions)
    mine = options.members["mine"]
    assert mine.model == "GRU4Rec"
    assert mine.parameters == {"hidden_size": 48, "embedding_size": 8}
    assert mine.training is not None
    assert (mine.training.learning_rate, mine.training.batch_size) == (0.5, 9)
    # How long is the ensemble's to say, not the student's.
    assert (mine.training.max_epochs, mine.training.min_epochs) == (15, 2)
    assert mine.training.patience == 4
    assert options.members["markov"].training is None
    elsewhere = resolved_options(config, "other", Workspace(tmp_path), "options")
    assert elsewhere.members["mine"].parameters["hidden_size"] == 32  # type: ignore[attr-defined]


def test_a_student_that_changed_since_is_another_teacher(
    toy: PreparedData, ensure: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "configs" / "students"
    folder.mkdir(parents=True)
    file = folder / "mine.yaml"
    text = "model: GRU4Rec\nparameters: {hidden_size: 8, embedding_size: 8}\n"
    file.write_text(text)
    raw = {"kind": "ensemble", "options": {"max_epochs": 1, "members": {"mine": {}}}}
    ensure("one", raw, toy)
    ensure("one", raw, toy)
    file.write_text(text + "training: {learning_rate: 0.5}\n")
    with pytest.raises(
        ConfigError, match=r"members\.mine\.training\.learning_rate is 0\.001 there and 0\.5 here"
    ):
        ensure("one", raw, toy)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "'members' is missing"),
        ({"members": {}}, "'members'"),
        ({"members": ["sasrec"]}, "'members'"),
        ({"members": {"sasrec": "yes"}}, "members.sasrec"),
        ({"members": {"sazrec": {}}}, "'members.sazrec.model' is missing"),
        ({"members": {"a": {"model": "SASRek"}}}, "Did you mean 'SASRec'"),
        ({"members": {"sasrec": {"parameters": {"heads": 2}}}}, "unknown parameter of SASRec"),
        ({"members": {"sasrec": {"training": {"epochs": 2}}}}, "training.epochs'"),
        ({"members": {"sasrec": {"training": {"selection": "oracle"}}}}, "never with test rows"),
        ({"members": {"a": {"model": "ItemKNN", "parameters": {"neighbors": 2}}}}, "neighbors"),
        ({"members": {"a": {"model": "MarkovChain", "training": {}}}}, "needs no 'training'"),
        ({"members": {"sasrec": {}}, "held_out": 0.9}, "'held_out'"),
        ({"members": {"sasrec": {}}, "epochs": 9}, "Did you mean 'max_epochs'"),
    ],
)
def test_mistakes(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    config = TeacherConfig(kind="ensemble", options=options)
    with pytest.raises(ConfigError, match=message):
        resolved_options(config, "toy", Workspace(tmp_path), "options")


def test_a_model_that_cannot_be_built_is_told_before_any_is_trained(
    toy: PreparedData, small: EnsembleOptions
) -> None:
    options = options_of({"members": {"bert4rec": {"parameters": {"n_heads": 3}}}})
    lines: list[str] = []
    message = r"recommender 'bert4rec' cannot be built"
    with pytest.raises(BenchError, match=message), listening(lines.append):
        make_members(options, toy.train, toy.n_items, toy.n_users, "cpu")
    assert not any("epoch" in line for line in lines)
