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
from bench.teachers.kinds.llm_encoder.teacher import LlmEncoderOptions, LlmEncoderTeacher
from bench.teachers.knowledge import load_knowledge
from bench.teachers.language.passes import keys_of
from bench.teachers.language.states import HistoryStates

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


def towers(n_items: int, history: np.ndarray, stream: bool, ids: bool) -> HistoryTowers:
    random = np.random.default_rng(1)
    keys = np.unique(keys_of(history))
    values = random.standard_normal((len(keys), 6)).astype(np.float16)
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
