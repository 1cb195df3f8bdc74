"""A language model reads histories; a head over its states learns from training rows alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import layers
from bench.data.examples import PreparedData
from bench.errors import BenchError, ConfigError
from bench.paths import Workspace
from bench.teachers.builder import Product, resolved_options
from bench.teachers.config import TeacherConfig
from bench.teachers.contract import check
from bench.teachers.kinds.llm_encoder.network import HistoryTowers
from bench.teachers.kinds.llm_encoder.objective import NextItem, Reading
from bench.teachers.kinds.llm_encoder.teacher import LlmEncoderOptions, LlmEncoderTeacher
from bench.teachers.knowledge import load_knowledge
from bench.teachers.language.loading import CAUSAL, load
from bench.teachers.language.passes import keys_of
from bench.teachers.language.states import HistoryStates, Lines
from bench.teachers.language.titles import Words
from bench.teachers.weights import find

pytest.importorskip("transformers", reason="needs the extra 'llm'")

OPTIONS: dict[str, Any] = {
    "dtype": "float32",
    "encoder": "random",
    "layers": [2],
    "shared": 2,
    "list_length": 8,
    "width": 32,
    "heads": 2,
    "feed_forward": 64,
    "dropout": 0.0,
    "learning_rate": 0.02,
    "batch_size": 32,
    "epochs": 12,
}


def built(data: PreparedData, model: Path, cache: Path, **changes: Any) -> Product:
    options = LlmEncoderOptions.model_validate({"model": str(model), **OPTIONS, **changes})
    return LlmEncoderTeacher.build(options, data, cache, "cpu")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the tests that share the states."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("changes", [{}, {"stream": True, "ids": True}, {"pooling": "mean"}])
def test_a_planted_rule_is_learned(
    toy: PreparedData, tiny_causal: Path, cache: Path, changes: dict[str, Any]
) -> None:
    found = built(toy, tiny_causal, cache, **changes)
    assert found.metrics["test"]["hr@5"] > 2 * 5 / toy.n_items
    assert found.rankings is not None and found.rankings.shape == (len(toy.train), 8)


def test_what_it_exports(
    toy: PreparedData, tiny_causal: Path, cache: Path, ensure: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "tocf").mkdir()
    (tmp_path / "tocf" / ".cache").symlink_to(cache)
    options = {"model": str(tiny_causal), **OPTIONS, "epochs": 1, "histories": True}
    folder = ensure("reader", {"kind": "llm-encoder", "options": options}, toy)
    assert check(folder, toy).problems == []
    known = load_knowledge(folder, toy)
    assert known.histories is not None and known.histories.shape == (len(toy.train), 32)
    assert (folder / "test_ranks.npy").is_file()


def test_other_validation_and_test_targets_make_the_same_states_and_lists(
    toy: PreparedData, tiny_causal: Path, cache: Path
) -> None:
    one = built(toy, tiny_causal, cache, epochs=1)
    turned = {
        split: replace(rows, target=rows.target[::-1].copy())
        for split, rows in (("valid", toy.valid), ("test", toy.test))
    }
    other = built(replace(toy, **turned), tiny_causal, cache, epochs=1)
    np.testing.assert_array_equal(one.rankings, other.rankings)
    np.testing.assert_array_equal(one.embeddings, other.embeddings)
    assert one.metrics["test"] != other.metrics["test"]


def test_items_that_read_another_title_are_a_control(
    toy: PreparedData, tiny_causal: Path, cache: Path
) -> None:
    own = built(toy, tiny_causal, cache, epochs=1)
    shuffled = built(toy, tiny_causal, cache, epochs=1, texts="shuffled")
    assert not np.array_equal(own.embeddings, shuffled.embeddings)
    assert any("text of another" in note for note in shuffled.notes)


TUNING = {
    "learning_rate": 0.003,
    "warm_up_steps": 5,
    "batch_size": 16,
    "micro_batch_size": 16,
    "epochs": 8,
    "readings": 200,
    "held_out_readings": 10,
}


def test_adapters_are_tuned_before_the_states_are_read(
    toy: PreparedData, tiny_causal: Path, cache: Path
) -> None:
    pytest.importorskip("peft")
    frozen = built(toy, tiny_causal, cache, epochs=1)
    found = built(toy, tiny_causal, cache, epochs=1, tuning=TUNING)
    course = found.recipe["tuning"]
    losses = course["held_out_loss_from_epoch_0"]
    assert min(losses) < losses[0] == pytest.approx(np.log(toy.n_items), abs=0.3)
    assert (course["rows_learned_from"], course["rows_held_out"]) == (200, 10)
    assert not np.array_equal(found.rankings, frozen.rankings)
    assert "tuning" not in frozen.recipe and any("tuned on training" in n for n in found.notes)
    again = built(toy, tiny_causal, cache, epochs=1)  # the model is what it was
    np.testing.assert_array_equal(again.rankings, frozen.rankings)


def test_validation_and_test_targets_are_not_read_by_the_tuning(
    toy: PreparedData, tiny_causal: Path, tmp_path: Path
) -> None:
    """Their histories are: what is kept of adapters depends on training rows alone."""
    pytest.importorskip("peft")
    turned = {
        split: replace(rows, target=rows.target[::-1].copy(), history=rows.history % 7 + 1)
        for split, rows in (("valid", toy.valid), ("test", toy.test))
    }
    for name, data in (("a", toy), ("b", replace(toy, **turned))):
        built(data, tiny_causal, tmp_path / name, epochs=1, tuning={**TUNING, "epochs": 1})
    first, second = (
        next((tmp_path / name).glob("adapter-*/adapter/adapter_model.safetensors"))
        for name in ("a", "b")
    )
    assert first.read_bytes() == second.read_bytes()
    assert first.parent.parent.name == second.parent.parent.name


def test_the_tuned_loss_is_that_of_rows_one_at_a_time(toy: PreparedData, tiny_causal: Path) -> None:
    language = load(find(str(tiny_causal), Path()), CAUSAL, "cpu", "float32")
    lines = Lines.of(toy.item_texts, Words(), language.tokenizer, 32)
    head = towers(toy.n_items, np.zeros((0, 4), np.int32), False, False, read=32)
    objective = NextItem(language, head, len(lines.head), [1], "end")
    histories, targets = [(3, 5, 9), (4,)], [[7, 8], [2]]
    readings = []
    for items, wanted in zip(histories, targets, strict=True):
        tokens, ends = lines.read(items)
        readings.append(Reading(tokens, ends[-len(wanted) :], wanted))
    alone = [
        NextItem(language, head, len(lines.head), [1], "end").loss([Reading(one.tokens, [e], [t])])
        for one in readings
        for e, t in zip(one.ends, one.targets, strict=True)
    ]
    torch.testing.assert_close(objective.loss(readings), torch.stack(alone).sum())
    assert [objective.count(one) for one in readings] == [2, 1]


def towers(
    n_items: int, history: np.ndarray, stream: bool, ids: bool, read: int = 6
) -> HistoryTowers:
    random = np.random.default_rng(1)
    keys = np.unique(keys_of(history))
    values = random.standard_normal((len(keys), read)).astype(np.float16)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return HistoryTowers(
            torch.from_numpy(random.standard_normal((n_items, 5)).astype(np.float32)),
            HistoryStates(keys, values),
            stream=stream,
            ids=ids,
            length=history.shape[1],
            width=8,
            heads=2,
            feed_forward=16,
            dropout=0.0,
        )


def test_a_query_is_the_heads_and_that_of_the_stream(toy: PreparedData) -> None:
    both, head = (towers(toy.n_items, toy.train.history, one, False) for one in (True, False))
    history = torch.from_numpy(toy.train.history.astype(np.int64))
    length = torch.from_numpy(toy.train.length.astype(np.int64))
    points = both.points()
    attended = super(HistoryTowers, both).queries(points, history, length)
    found = both.queries(points, history, length)
    torch.testing.assert_close(found, head.queries(points, history, length) + attended)
    place = np.searchsorted(both.keys.numpy(), keys_of(toy.train.history))
    states = both.states[torch.from_numpy(place)].float()
    torch.testing.assert_close(head.queries(points, history, length), head.read(states))


def test_vectors_of_items_change_nothing_at_first_and_are_learned(toy: PreparedData) -> None:
    plain, own = (towers(toy.n_items, toy.train.history, False, ids) for ids in (False, True))
    assert own.ids is not None and torch.equal(plain.points(), own.points())
    own.items().square().sum().backward()
    assert own.ids.grad is not None and own.ids.grad.abs().sum() > 0


def test_a_history_that_was_not_read_is_refused(toy: PreparedData) -> None:
    head = towers(toy.n_items, toy.train.history, False, False)
    history = torch.full((1, toy.train.history.shape[1]), 29)
    with pytest.raises(BenchError, match="the language model has not read"):
        head.queries(head.points(), history, torch.tensor([4]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": [2]}, "'model' is missing"),
        ({"model": "m"}, "'layers' is missing"),
        ({"model": "m", "layers": []}, "'layers'"),
        ({"model": "m", "layers": [-1]}, "layers"),
        ({"model": "m", "layers": [2], "pooling": "max"}, "'pooling'"),
        ({"model": "m", "layers": [2], "shared": 0}, "'shared'"),
        ({"model": "m", "layers": [2], "words": {"noun": "game"}}, "words.noun"),
        ({"model": "m", "layers": [2], "streams": True}, "Did you mean 'stream'"),
    ],
)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    config = TeacherConfig(kind="llm-encoder", options=options)
    with pytest.raises(ConfigError, match=message):
        resolved_options(config, "toy", Workspace(Path("nowhere")), "options")


def test_the_teacher_of_the_tree_is_well_formed() -> None:
    raw = layers.read("teachers", "llm-encoder", Workspace(Path("nowhere")))
    config = layers.build(TeacherConfig, raw, "llm-encoder")
    options = resolved_options(config, "movielens", Workspace(Path("nowhere")), "options")
    assert isinstance(options, LlmEncoderOptions)
    assert options.words.item == "movie" and options.title_end == " ("
