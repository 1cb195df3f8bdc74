"""A reading serves many rows, shows none more than its own history, and is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.data.examples import Examples, PreparedData
from bench.errors import BenchError, ConfigError
from bench.teachers.language import states
from bench.teachers.language.loading import CAUSAL, LanguageModel, load
from bench.teachers.language.passes import keys_of, passes
from bench.teachers.language.states import POOLINGS, HistoryReader, Lines, Pooling
from bench.teachers.language.titles import Words
from bench.teachers.weights import find

LENGTH = 4


def rows_of(sequences: Sequence[Sequence[int]], kept: Sequence[bool] = ()) -> Examples:
    """A row for every item of users' sequences but the first, with the last items before it."""
    found = []
    for user, items in enumerate(sequences):
        for place in range(1, len(items)):
            past = items[max(0, place - LENGTH) : place]
            padded = [*past, *[0] * (LENGTH - len(past))]
            found.append((padded, len(past), items[place], user, place))
    chosen = [row for row, keep in zip(found, kept, strict=True) if keep] if kept else found
    shuffled = [chosen[place] for place in np.random.default_rng(0).permutation(len(chosen))]
    columns = zip(*shuffled, strict=True) if shuffled else [[]] * 5
    return Examples(*(np.array(column, dtype=np.int32) for column in columns))


@given(
    st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=12), min_size=1, max_size=3),
    st.integers(1, LENGTH + 2),
    st.data(),
)
def test_every_row_is_served_once_by_the_end_of_its_own_history(
    sequences: list[list[int]], shared: int, draw: st.DataObject
) -> None:
    count = sum(len(items) - 1 for items in sequences)
    kept = draw.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    rows = rows_of(sequences, kept)
    found = passes(rows, shared)
    assert sorted(row for one in found for row in one.rows) == list(range(len(rows)))
    for one in found:
        assert 1 <= len(one.rows) <= shared and len(one.items) <= LENGTH
        for row, seen in zip(one.rows, one.seen, strict=True):
            own = rows.history[row][: rows.length[row]].tolist()
            assert seen >= 1 and list(one.items[:seen]) == own[-seen:]
        assert one.seen[0] == len(one.items) == rows.length[one.rows[0]]
    if shared == 1:
        assert len(found) == len(rows)


def test_rows_of_a_long_sequence_share_passes() -> None:
    found = passes(rows_of([list(range(1, 14))]), 3)
    assert [len(one.rows) for one in found] == [3, 3, 3, 3]
    assert found[0].seen == (4, 3, 2)


@given(st.lists(st.lists(st.integers(0, 2**31 - 1), min_size=3, max_size=3), max_size=30))
def test_histories_have_the_same_number_where_they_are_the_same(many: list[list[int]]) -> None:
    history = np.array(many, dtype=np.int32).reshape(-1, 3)
    keys = keys_of(history)
    assert (keys[:, None] == keys).tolist() == [[a == b for b in many] for a in many]


@pytest.fixture(scope="module")
def language(tiny_causal: Path) -> LanguageModel:
    return load(find(str(tiny_causal), Path()), CAUSAL, "cpu", "float32")


@pytest.fixture(scope="module")
def rows() -> Examples:
    random = np.random.default_rng(3)
    return rows_of([random.integers(1, 31, 9).tolist() for _ in range(4)])


def reader(
    language: LanguageModel, toy: PreparedData, cache: Path, shared: int = 3
) -> HistoryReader:
    lines = Lines.of(toy.item_texts, Words(), language.tokenizer, 32)
    return HistoryReader(language, lines, shared, {}, cache)


@torch.no_grad()
@pytest.mark.parametrize("pooling", POOLINGS)
def test_states_are_those_of_the_model_at_the_ends_of_items(
    language: LanguageModel, toy: PreparedData, rows: Examples, tmp_path: Path, pooling: Pooling
) -> None:
    found = reader(language, toy, tmp_path).states([rows], [1, 2], pooling)
    assert found.values.shape == (len(np.unique(rows.history, axis=0)), 64)
    lines = Lines.of(toy.item_texts, Words(), language.tokenizer, 32)
    for one in passes(rows, 3):
        for row, seen in zip(one.rows, one.seen, strict=True):
            tokens = [*lines.head, *(t for item in one.items[:seen] for t in lines.items[item - 1])]
            layers = language.model(
                input_ids=torch.tensor([tokens]), output_hidden_states=True
            ).hidden_states
            expected = [
                layer[0, -1] if pooling == "end" else layer[0, len(lines.head) :].mean(0)
                for layer in layers[1:]
            ]
            place = np.searchsorted(found.keys, keys_of(rows.history[row : row + 1]))[0]
            np.testing.assert_allclose(
                found.values[place].astype(np.float32), torch.cat(expected).numpy(), atol=5e-3
            )


def test_what_is_kept_is_not_read_again_and_a_reading_that_stopped_goes_on(
    language: LanguageModel,
    toy: PreparedData,
    rows: Examples,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(states, "BLOCK", 2)
    whole = reader(language, toy, tmp_path / "whole").states([rows], [2], "end")
    write, written = states.write_whole, list[Path]()

    def write_three(path: Path, content: object) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        if path.suffix == ".npy":
            written.append(path)
        write(path, content)  # type: ignore[arg-type]

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(states, "write_whole", write_three)
        reader(language, toy, tmp_path / "parts").states([rows], [2], "end")
    before = {path: path.stat().st_mtime_ns for path in written}
    again = reader(language, toy, tmp_path / "parts").states([rows], [2], "end")
    assert np.array_equal(again.values, whole.values) and np.array_equal(again.keys, whole.keys)
    assert before == {path: path.stat().st_mtime_ns for path in written}

    calls = []
    hook = language.model.base_model.register_forward_hook(lambda *_: calls.append(1))
    both = reader(language, toy, tmp_path / "parts").states([rows], [2], "mean")
    assert not calls and both.values.shape == whole.values.shape
    reader(language, toy, tmp_path / "parts").states([rows], [1, 2], "end")
    hook.remove()
    assert calls


def test_states_are_standardised_by_some_histories(
    language: LanguageModel, toy: PreparedData, rows: Examples, tmp_path: Path
) -> None:
    found = reader(language, toy, tmp_path).states([rows], [1], "end")
    values = found.values.copy()
    values[:, 0] = 700  # the same for all, as some coordinates nearly are
    found = replace(found, values=values)
    some = rows.history[::2]
    known = np.isin(found.keys, keys_of(some))
    told = found.standardised(some).values.astype(np.float64)
    assert known.any() and not known.all() and not told[:, 0].any()
    np.testing.assert_allclose(told[known].mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(told[known][:, 1:].std(0), 1, atol=1e-3)


def test_a_model_that_is_loaded_in_part_has_the_same_states(
    tiny_causal: Path, language: LanguageModel, toy: PreparedData, rows: Examples, tmp_path: Path
) -> None:
    weights = find(str(tiny_causal), Path())
    whole = reader(language, toy, tmp_path / "a").states([rows], [0], "end")
    part = load(weights, CAUSAL, "cpu", "float32", 0)
    assert part.model.config.num_hidden_layers == 1 and part.identity == language.identity
    found = reader(part, toy, tmp_path / "b").states([rows], [0], "end")
    np.testing.assert_array_equal(found.values, whole.values)
    with pytest.raises(ConfigError, match="has 2 layers; 3 are asked for"):
        load(weights, CAUSAL, "cpu", "float32", 3)


def test_states_that_are_no_numbers(
    language: LanguageModel, toy: PreparedData, rows: Examples, tmp_path: Path
) -> None:
    weight = language.model.get_input_embeddings().weight
    model = replace(language)
    kept = weight.clone()
    try:
        with torch.no_grad():
            weight.fill_(torch.nan)
        with pytest.raises(BenchError, match="layer 1 is NaN or too large for 16 bits"):
            reader(model, toy, tmp_path).states([rows], [1], "end")
    finally:
        with torch.no_grad():
            weight.copy_(kept)
    assert not list(tmp_path.glob("*/*.npy"))
