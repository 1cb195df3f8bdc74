"""Written titles are grounded as brute force over the catalogue does it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.examples import PreparedData
from bench.errors import BenchError
from bench.teachers.kinds.bigrec.grounding import Catalogue, Popularity, embed
from bench.teachers.language.loading import CAUSAL, LanguageModel, load
from bench.teachers.weights import find

pytest.importorskip("transformers", reason="needs the extra 'llm'")

TITLES = ["b", "a", "c", "b", "d", "c", "b", "e"]
TOKENS = ["t4", "t3", "t9", "t1", "t5", "t2", "t0", "t8"]
COUNTS = np.asarray([3, 0, 5, 9, 1, 5, 3, 2])
TEXTS = ["a", "x", "b", "y", "x", "e", "c", "z"]
TARGETS = np.asarray([2, 1, 6, 4, 8, 8, 3, 7], dtype=np.int32)


def point(text: str) -> np.ndarray:
    return np.random.default_rng(ord(text)).normal(size=6).astype(np.float32)


def points(texts: Sequence[str]) -> np.ndarray:
    return np.asarray([point(text) for text in texts], dtype=np.float32).reshape(len(texts), 6)


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue(TITLES, TOKENS, points, "cpu")


def brute_force(text: str, gamma: float) -> list[float]:
    """Distance of a text to every item, popularity injected."""
    found = [float(np.sqrt(((point(text) - point(title)) ** 2).sum())) for title in TITLES]
    if gamma == 0:
        return found
    low, high = min(found), max(found)
    injected = []
    for distance, count in zip(found, COUNTS, strict=True):
        popularity = (count - COUNTS.min()) / (COUNTS.max() - COUNTS.min())
        injected.append((distance - low) / (high - low) * (1 + popularity) ** (-gamma))
    return injected


@pytest.mark.parametrize("gamma", [0.0, 0.5, 7.0])
def test_lists_distances_and_ranks(catalogue: Catalogue, gamma: float) -> None:
    popularity = Popularity(COUNTS, gamma)
    written = catalogue.read(TEXTS)
    ids, distances = catalogue.lists(written, 5, popularity)
    assert ids.dtype == np.int32 and distances.dtype == np.float32 and ids.shape == (8, 5)
    (ranks,) = catalogue.ranks(written, TARGETS, [popularity])
    for row, text in enumerate(TEXTS):
        expected = brute_force(text, gamma)
        order = sorted(range(8), key=lambda i: (round(expected[i], 6), -COUNTS[i], TOKENS[i]))
        assert ids[row].tolist() == [place + 1 for place in order[:5]]
        np.testing.assert_allclose(distances[row], sorted(expected)[:5], rtol=1e-5, atol=1e-6)
        title = TITLES[TARGETS[row] - 1]
        own = min(expected[i] for i in range(8) if TITLES[i] == title)
        others = [expected[i] for i in range(8) if TITLES[i] != title]
        assert ranks[row] == 1 + sum(other <= own for other in others)
    np.testing.assert_allclose(
        catalogue.distances_to(written, TARGETS),
        [brute_force(text, 0)[item - 1] for text, item in zip(TEXTS, TARGETS, strict=True)],
        rtol=1e-5,
    )


def test_items_of_one_title(catalogue: Catalogue) -> None:
    assert np.array_equal(catalogue.vectors[[0, 3]], catalogue.vectors[[6, 0]])
    ids, distances = catalogue.lists(catalogue.read(["b", "c"]), 8, Popularity(COUNTS))
    assert ids[0, :3].tolist() == [4, 7, 1]  # 9, then 3 and 3: t0 before t4
    assert ids[1, :2].tolist() == [6, 3]  # 5 and 5: t2 before t9
    assert distances[0, :3].tolist() == [0, 0, 0] and distances[1, 2] > 0
    ranks = catalogue.ranks(catalogue.read(["b"] * 3), np.asarray([1, 4, 7]), [Popularity(COUNTS)])
    assert ranks.tolist() == [[1, 1, 1]]


def test_another_title_that_ties_is_ranked_before_the_target() -> None:
    def alike(texts: Sequence[str]) -> np.ndarray:
        return np.ones((len(texts), 2), dtype=np.float32)

    same = Catalogue(["a", "b"], ["t0", "t1"], alike, "cpu")
    counts = np.asarray([1, 1])
    assert same.ranks(same.read(["a"]), np.asarray([1]), [Popularity(counts)]).tolist() == [[2]]


def test_a_text_is_read_once_and_a_title_is_where_its_item_is() -> None:
    asked: list[str] = []

    def counting(texts: Sequence[str]) -> np.ndarray:
        asked.extend(texts)
        return points(texts)

    catalogue = Catalogue(TITLES, TOKENS, counting, "cpu")
    assert sorted(asked) == ["a", "b", "c", "d", "e"]
    asked.clear()
    catalogue.read(TEXTS)
    assert sorted(asked) == ["x", "y", "z"]
    assert catalogue.share_of_titles(TEXTS) == 4 / 8


def test_more_texts_than_fit_in_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = Catalogue(TITLES, TOKENS, points, "cpu")
    popularity, written = Popularity(COUNTS, 2.0), catalogue.read(TEXTS)
    whole = (
        *catalogue.lists(written, 9, popularity),
        catalogue.ranks(written, TARGETS, [popularity]),
    )
    monkeypatch.setattr("bench.teachers.kinds.bigrec.grounding.BLOCK", 3)
    parts = (
        *catalogue.lists(written, 9, popularity),
        catalogue.ranks(written, TARGETS, [popularity]),
    )
    assert whole[0].shape == (8, 8)  # the catalogue is smaller than the lists
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_catalogue_without_differences_in_popularity(catalogue: Catalogue) -> None:
    level = Popularity(np.full(8, 3), 5.0)
    np.testing.assert_array_equal(level.discounts(), np.ones(8))


# -- embeddings ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def language(tiny_causal: Path) -> LanguageModel:
    return load(find(str(tiny_causal), Path()), CAUSAL, "cpu", "float32")


def test_a_text_is_the_last_state_of_its_last_token(
    language: LanguageModel, toy: PreparedData
) -> None:
    texts = ["", "Thing", *toy.item_texts[:9], "Thing number 3 of the next title", "1 2 3 4 5 6 7"]
    together = embed(language, texts, 5)
    assert together.dtype == np.float32
    for place, text in enumerate(texts):
        tokens = torch.tensor([language.tokenizer(text)["input_ids"]])
        with torch.no_grad():
            states = language.model(input_ids=tokens, output_hidden_states=True).hidden_states
        np.testing.assert_allclose(together[place], states[-1][0, -1], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(embed(language, [text], 1)[0], together[place], atol=1e-5)
    assert embed(language, [], 5).shape == (0, together.shape[1])


def test_a_text_without_tokens_is_an_end(
    language: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = type(language.tokenizer).__call__

    def bare(self: object, texts: list[str]) -> object:
        return plain(self, texts, add_special_tokens=False)

    monkeypatch.setattr(type(language.tokenizer), "__call__", bare)
    end = language.tokenizer.eos_token
    np.testing.assert_array_equal(embed(language, [""], 1), embed(language, [end], 1))


def test_half_precision_is_close(tiny_causal: Path, language: LanguageModel) -> None:
    half = load(find(str(tiny_causal), Path()), CAUSAL, "cpu", "bfloat16")
    texts = ["Thing number 3", "Thing number 17"]
    found, exact = embed(half, texts, 2), embed(language, texts, 2)
    assert found.dtype == np.float32
    assert np.linalg.norm(found - exact) < 0.1 * np.linalg.norm(exact)


def test_values_that_are_no_numbers_are_an_error(language: LanguageModel) -> None:
    broken = copy.deepcopy(language)
    broken.model.get_input_embeddings().weight[:] = torch.nan
    with pytest.raises(BenchError, match=r"NaN or infinite; try another 'dtype'"):
        embed(broken, ["Thing"], 1)
