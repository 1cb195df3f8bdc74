"""A question says what its own row and its own list say, and nothing of another row's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.data.examples import Examples
from bench.teachers.kinds.delrec.questions import Asking, ListedRows, Question
from bench.teachers.kinds.delrec.titles import MASK, Titles

from . import colours


@pytest.fixture(scope="module")
def language_and_titles(colours_folder: Path):  # type: ignore[no-untyped-def]
    return colours.read(colours_folder)


@pytest.fixture(scope="module")
def asking(language_and_titles) -> Asking:  # type: ignore[no-untyped-def]
    return colours.asking(language_and_titles[1])


@pytest.fixture
def known() -> ListedRows:
    """Rows and random lists of 4 items."""
    rows = colours.make_rows(50, 3)
    lists = np.random.default_rng(4).random((2, 50, colours.N_ITEMS)).argsort(axis=2)[:, :, :4] + 1
    return ListedRows(rows, *lists.astype(np.int32))


def names(items: list[int]) -> str:
    """How a list of items reads."""
    return " ; ".join("[MASK]" if item == MASK else colours.TITLES[item - 1] for item in items)


@pytest.fixture
def said(language_and_titles):  # type: ignore[no-untyped-def]
    """The text of a question, as the model reads it."""

    def text(question: Question) -> str:
        # Marks are words of their own in this vocabulary.
        return (
            language_and_titles[0].tokenizer.decode(question.prompt).replace("[ MASK ]", "[MASK]")
        )

    return text


def history(rows: Examples, row: int) -> list[int]:
    return [int(item) for item in rows.history[row] if item]


def test_patterns_ask_for_the_head_of_the_rows_own_list(asking, known, said) -> None:  # type: ignore[no-untyped-def]
    """The order in which rows are asked about changes nothing: no list belongs to another row."""
    order = np.random.default_rng(0).permutation(50)
    for row in order.tolist():
        question = asking.pattern(known, row, np.random.default_rng(row))
        listed = known.following[row].tolist()
        assert question.candidates[question.answer] == listed[0]
        assert set(listed) <= set(question.candidates.tolist())
        assert len(set(question.candidates.tolist())) == len(question.candidates) == 6
        text = said(question)
        assert names([MASK, *listed[1:]]) in text
        assert names(history(known.rows, row)) in text
        assert names(question.candidates.tolist()) in text
        assert "SASRec" in text and text.endswith("</s>")


def test_rows_in_another_order_are_asked_the_same(asking, known) -> None:  # type: ignore[no-untyped-def]
    order = np.random.default_rng(1).permutation(50)
    rows = Examples(*(getattr(known.rows, name)[order] for name in Examples.__dataclass_fields__))
    shuffled = ListedRows(rows, known.following[order], known.preceding[order])
    for place, row in enumerate(order.tolist()):
        asks = [asking.pattern, asking.next_item]
        if known.rows.length[row] >= asking.shortest_temporal:
            asks.append(asking.temporal)
        for ask in asks:
            here = ask(known, row, np.random.default_rng(7))
            there = ask(shuffled, place, np.random.default_rng(7))
            assert here.prompt == there.prompt and here.answer == there.answer
            assert here.candidates.tolist() == there.candidates.tolist()


def test_temporal_analysis_hides_the_last_item_and_tells_the_next(asking, known, said) -> None:  # type: ignore[no-untyped-def]
    seen = 0
    for row in range(50):
        items = history(known.rows, row)
        if len(items) < asking.shortest_temporal:
            continue
        seen += 1
        question = asking.temporal(known, row, np.random.default_rng(row))
        *before, hidden = items
        following = int(known.rows.target[row])
        text = said(question)
        assert question.candidates[question.answer] == hidden
        listed = [item for item in known.preceding[row].tolist() if item != hidden]
        assert set(listed) <= set(question.candidates.tolist())
        assert (
            f"in {names([before[0], MASK, before[2]])} the hidden item is {names([before[1]])}."
            in (text.replace(" .", "."))
        )
        asked = [*before[3:][-1:], MASK, following]  # three items at most, none of the example's
        assert f"hidden in {names(asked)} ?" in text
    assert seen > 10


def test_the_next_item_is_asked_for_among_random_ones(asking, known, said) -> None:  # type: ignore[no-untyped-def]
    for row in range(10):
        question = asking.next_item(known, row, np.random.default_rng(row))
        assert question.candidates[question.answer] == known.rows.target[row]
        text = said(question)
        assert names(history(known.rows, row)) in text
        assert names(question.candidates.tolist()) in text
    given = np.array([5, 2, 9], dtype=np.int32)
    question = asking.among(known.rows, 3, given)
    assert question.candidates.tolist() == [5, 2, 9] and names([5, 2, 9]) in said(question)


def test_a_small_catalogue_has_fewer_candidates(language_and_titles, known) -> None:  # type: ignore[no-untyped-def]
    asking = colours.asking(language_and_titles[1], candidates=99)
    question = asking.pattern(known, 0, np.random.default_rng(0))
    assert sorted(question.candidates.tolist()) == list(range(1, colours.N_ITEMS + 1))


def test_titles_are_cut_and_ended(language_and_titles) -> None:  # type: ignore[no-untyped-def]
    tokenizer = language_and_titles[0].tokenizer
    titles = Titles(["red ball", "gold ring ball car"], tokenizer, 3)
    assert tokenizer.decode(titles.answer(1)) == "red ball </s>"
    assert tokenizer.decode(titles.answer(2)) == "gold ring ball </s>"
    assert tokenizer.decode(titles.prompt("{a} ? {b}", a=[], b=[2, 1])) == (
        "? gold ring ball ; red ball </s>"
    )
