"""Twins of teachers that read texts: made the same way, of vectors that say nothing of an item."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.examples import PreparedData
from bench.errors import UnknownNameError
from bench.paths import Workspace
from bench.teachers.config import read_teacher
from bench.teachers.encoder import encode
from bench.teachers.kinds.raw_text import RawTextTeacher
from bench.teachers.kinds.text import TextOptions, TextTeacher
from bench.teachers.kinds.text_neighbours import (
    TextNeighboursOptions,
    TextNeighboursTeacher,
)
from bench.teachers.registry import KINDS
from bench.teachers.rows import preference
from bench.teachers.texts import TextVectorOptions, random_vectors, text_vectors, with_texts

TEXTS = ["abc", "de", "abc", "", "fgh", "a b"] * 5


@given(st.lists(st.text(max_size=5), min_size=1, max_size=20), st.integers(2, 40))
def test_random_vectors_are_unit_and_belong_to_texts(texts: list[str], width: int) -> None:
    found = random_vectors(texts, width)
    assert found.shape == (len(texts), width) and found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(random_vectors(texts[::-1], width)[::-1], found)
    names = np.array(texts, dtype=object)  # NumPy's own texts lose zeros at their end
    same = names[:, None] == names
    np.testing.assert_array_equal((found @ found.T > 1 - 1e-5) | ~same, np.ones_like(same))
    assert len(np.unique(found, axis=0)) == len(set(texts))


def test_random_directions_are_those_of_no_encoder_and_have_no_order() -> None:
    found = random_vectors([f"item {i}" for i in range(400)], 384).astype(np.float64)
    cosines = (found @ found.T)[np.triu_indices(400, 1)]
    assert abs(cosines.mean()) < 5 / np.sqrt(384 * len(cosines))
    assert cosines.std() == pytest.approx(1 / np.sqrt(384), rel=0.02)


def test_shuffled_texts_are_the_same_texts_of_other_items(
    tiny_encoder: Path, make_data: Callable[..., PreparedData], tmp_path: Path
) -> None:
    data = make_data(item_texts=TEXTS)
    other = with_texts(data, "shuffled")
    assert sorted(other.item_texts) == sorted(TEXTS) and other.item_texts != TEXTS
    assert with_texts(data, "own").item_texts == TEXTS
    encoder = {"encoder": str(tiny_encoder)}
    own, shuffled = (
        text_vectors(data, TextVectorOptions(**encoder, texts=texts), tmp_path, "cpu")
        for texts in ("own", "shuffled")
    )
    np.testing.assert_array_equal(own, encode(TEXTS, str(tiny_encoder), tmp_path))
    (_,) = tmp_path.iterdir()  # encoded once
    np.testing.assert_array_equal(
        shuffled, encode(other.item_texts, str(tiny_encoder), tmp_path / "anew")
    )


@pytest.mark.parametrize("twin", ["random", "shuffled"])
@pytest.mark.parametrize("name", ["raw-text", "text-neighbours", "text", "learn", "l3ae"])
def test_every_teacher_of_text_vectors_has_twins(name: str, twin: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    plain, other = read_teacher(name, workspace), read_teacher(f"{name}-{twin}", workspace)
    options = KINDS.load(plain.kind).Options
    for dataset in ("game", "movielens"):
        before, after = (
            options.model_validate(config.options_for(dataset)).model_dump()
            for config in (plain, other)
        )
        differ = {key: after[key] for key in after if after[key] != before[key]}
        assert differ == {"random": {"encoder": "random"}, "shuffled": {"texts": "shuffled"}}[twin]


@pytest.mark.parametrize("name", ["bigrec", "delrec"])
def test_a_language_model_has_the_twin_of_other_titles(name: str, tmp_path: Path) -> None:
    config = read_teacher(f"{name}-shuffled", Workspace(tmp_path))
    assert config.options_for("movielens")["texts"] == "shuffled"
    with pytest.raises(UnknownNameError, match=f"{name}-shuffled"):
        read_teacher(f"{name}-random", Workspace(tmp_path))


def test_a_file_of_ones_own_is_stronger_than_a_twin_of_that_name(tmp_path: Path) -> None:
    path = tmp_path / "configs" / "teachers" / "text-random.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("{kind: raw-text}")
    assert read_teacher("text-random", Workspace(tmp_path)).kind == "raw-text"


def test_a_twin_says_what_it_is(make_data: Callable[..., PreparedData], tmp_path: Path) -> None:
    data = make_data(item_texts=TEXTS)
    small = TextOptions(epochs=1, width=16, heads=2, encoder="random-8", texts="shuffled")
    product = TextTeacher.build(small, data, tmp_path, "cpu")
    assert product.notes[-2:] == [
        "A control: its text vectors are drawn at random.",
        "A control: every item has the text of another.",
    ]
    raw = RawTextTeacher.build(TextVectorOptions(encoder="random"), data, tmp_path, "cpu")
    assert raw.embeddings is not None and raw.embeddings.shape == (30, 384)
    assert "drawn at random" in raw.notes[-1]
    assert not list(tmp_path.iterdir())  # nothing was encoded
    assert TextVectorOptions(encoder="random-forest").width_of_random is None


def test_neighbours_by_text_are_those_of_the_last_item(
    make_data: Callable[..., PreparedData], tmp_path: Path
) -> None:
    data = make_data(item_texts=TEXTS)
    options = TextNeighboursOptions(encoder="random-8", list_length=7)
    product = TextNeighboursTeacher.build(options, data, tmp_path, "cpu")
    vectors = random_vectors(TEXTS, 8).astype(np.float64)
    assert product.rankings is not None and product.distances is not None
    assert product.truth_distance is not None
    for row, (history, length, target) in enumerate(
        zip(data.train.history, data.train.length, data.train.target, strict=True)
    ):
        away = np.linalg.norm(vectors - vectors[history[length - 1] - 1], axis=1)
        assert product.truth_distance[row] == pytest.approx(away[target - 1], abs=1e-3)
        away[history[:length] - 1] = np.inf
        np.testing.assert_allclose(product.distances[row], np.sort(away)[:7], atol=1e-3)
        listed = product.rankings[row]
        np.testing.assert_allclose(away[listed - 1], np.sort(away)[:7], atol=1e-6)
        assert len({*listed.tolist()}) == 7
        place = preference(data).argsort()[listed - 1]
        tied = np.array([TEXTS[a - 1] == TEXTS[b - 1] for a, b in pairwise(listed)])
        assert tied.any() and (np.diff(place)[tied] > 0).all()
