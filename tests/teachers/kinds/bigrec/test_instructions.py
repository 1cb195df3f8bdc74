"""Prompts name the history's titles in order, and nothing else of a row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.data.examples import PreparedData
from bench.errors import DataError
from bench.teachers.kinds.bigrec.instructions import (
    PROMPT,
    Instructions,
    title_in,
    tokens_digest,
)
from bench.teachers.language.titles import Words, titles_of

from ...language.tiny import END, make_tokenizer

pytest.importorskip("transformers", reason="needs the extra 'llm'")

TITLES = ["red fox", "blue whale", "green frog", "grey wolf"]
WORDS = Words(item="animal", done="met")
BEFORE, AFTER = PROMPT.format(item="animal", done="met", titles="|").split("|")


@pytest.fixture
def tokenizer(tmp_path: Path) -> object:
    return make_tokenizer(tmp_path, [PROMPT, 'animal met ", "', *TITLES], ends=False, pads=False)


def asked(tokenizer: object, longest: int, *histories: list[int]) -> list[list[int]]:
    history = np.zeros((len(histories), 4), dtype=np.int32)
    for row, items in enumerate(histories):
        history[row, : len(items)] = items
    length = np.asarray([len(items) for items in histories], dtype=np.int32)
    prompts = Instructions(TITLES, WORDS, tokenizer, longest).prompts(history, length)
    return [prompt.tolist() for prompt in prompts]


def tokens(tokenizer: object, titles: str) -> list[int]:
    return tokenizer(f"{BEFORE}{titles}{AFTER}")["input_ids"]


def test_titles_are_quoted_and_in_order(tokenizer: object) -> None:
    found = asked(tokenizer, 999, [2, 1, 4], [3])
    assert found[0] == tokens(tokenizer, '"blue whale", "red fox", "grey wolf"')
    assert found[1] == tokens(tokenizer, '"green frog"')
    assert "Response" in tokenizer.decode(found[0]).split()[-3:]


def test_a_long_prompt_loses_its_oldest_titles_but_never_the_last(tokenizer: object) -> None:
    two = tokens(tokenizer, '"red fox", "grey wolf"')
    one = tokens(tokenizer, '"grey wolf"')
    assert asked(tokenizer, len(two), [3, 2, 1, 4], [4]) == [two, one]
    assert asked(tokenizer, len(two) - 1, [3, 2, 1, 4], [2, 4]) == [one, one]
    assert asked(tokenizer, 1, [3, 2, 1, 4], [4]) == [one, one]


def test_answers_are_quoted_titles_that_end(tokenizer: object) -> None:
    instructions = Instructions(TITLES, WORDS, tokenizer, 999)
    (answer,) = instructions.answers(np.asarray([2]))
    assert tokenizer.decode(answer) == f'" blue whale " {END}'
    assert instructions.answers(np.asarray([], dtype=np.int32)) == []
    assert asked(tokenizer, 9) == []


def test_texts_are_told_apart_by_order_and_by_where_they_end() -> None:
    one, two = np.asarray([1, 2], dtype=np.int32), np.asarray([3], dtype=np.int32)
    several = [[], [one, two], [two, one], [np.append(one, two)], [one, two, two[:0]]]
    assert len({tokens_digest(texts) for texts in several}) == len(several)
    assert tokens_digest([one, two]) == tokens_digest([one.copy(), two.copy()])


def test_titles_of_items(make_data: Callable[..., PreparedData]) -> None:
    texts = ["The Net (1995). Genres: Thriller", "  ", "Fargo. Genres: Crime. Genres: Drama"]
    data = make_data(item_texts=texts, item_tokens=["a", "b", "c"])
    assert titles_of(data, ". Genres: ") == ["The Net (1995)", "b", "Fargo"]
    assert titles_of(data, "") == [texts[0], "b", texts[2]]


def test_a_dataset_without_titles(make_data: Callable[..., PreparedData]) -> None:
    with pytest.raises(DataError, match=r"items of 'toy' have no texts.*a column 'title'"):
        titles_of(make_data(item_texts=[""] * 30), "")


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ('"blue whale"', "blue whale"),
        (' " blue whale " ', "blue whale"),
        ('\n\n "blue whale"\nand more', "blue whale"),
        ('The "Best" Of', 'The "Best" Of'),
        ("", ""),
        ('""', ""),
    ],
)
def test_the_title_in_a_text(text: str, title: str) -> None:
    assert title_in(text) == title
