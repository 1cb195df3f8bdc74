"""What DELRec asks a language model about a row: a prompt, candidates, and which is the answer.

Each question is made from one row alone and what belongs to that row, so that no order of rows can
give one row the list of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.data.examples import Examples, Ids
from bench.teachers.kinds.delrec.candidates import with_random
from bench.teachers.kinds.delrec.titles import MASK, Titles

TEMPORAL = (
    "One item in the order of a user's items is hidden as [MASK]. Candidates: {candidates}. "
    "For example, in {example} the hidden item is {shown}. "
    "Which candidate is hidden in {asked}?"
)
PATTERN = (
    "The recommender {recommender} read the items of a user in their order and ranked the "
    "candidates. Items: {history}. Candidates: {candidates}. Its ranking: {ranking}. "
    "Which candidate is [MASK]?"
)
NEXT = (
    "A user had these items in this order: {history}. Candidates: {candidates}. "
    "Which candidate comes next?"
)


@dataclass(frozen=True)
class Question:
    """A question with one right answer.

    Attributes:
        prompt: token ids.
        candidates: int32 [m], ids 1..N, none twice.
        answer: place of the answer among the candidates; 0 where none is known.
    """

    prompt: list[int]
    candidates: Ids
    answer: int


@dataclass(frozen=True)
class ListedRows:
    """Rows, and what a conventional recommender lists for each of them.

    Attributes:
        rows: R rows.
        following: int32 [R, h], best first, for the row's history.
        preceding: int32 [R, h], for the history without its last item; filler where nothing is
            left of it.
    """

    rows: Examples
    following: Ids
    preceding: Ids


@dataclass(frozen=True)
class Asking:
    """Makes questions.

    Attributes:
        titles: of the catalogue.
        n_items: N.
        candidates: m, items in a question.
        example_items: items of the example in a temporal question; the last but one is hidden.
        asked_items: items that it asks about, at most; the last but one is hidden.
        recommender: name of the conventional recommender.
    """

    titles: Titles
    n_items: int
    candidates: int
    example_items: int
    asked_items: int
    recommender: str

    @property
    def shortest_temporal(self) -> int:
        """Length of a history whose last item is behind the example."""
        return self.example_items + 1

    def temporal(self, known: ListedRows, row: int, random: np.random.Generator) -> Question:
        """Temporal analysis: which item came last, given those before it and the next one.

        The next item is the row's target. The first items of the history are an example of the
        same task; candidates are what the recommender lists for the items before the hidden one.
        """
        *before, hidden = _history(known.rows, row)
        following = int(known.rows.target[row])
        shown, after = before[self.example_items - 2 : self.example_items]
        example = [*before[: self.example_items - 2], MASK, after]
        rest = before[max(self.example_items, len(before) + 2 - self.asked_items) :]
        listed = [item for item in known.preceding[row].tolist() if item != hidden]
        candidates = self._filled([hidden, *listed], random)
        prompt = self.titles.prompt(
            TEMPORAL,
            candidates=candidates.tolist(),
            example=example,
            shown=[shown],
            asked=[*rest, MASK, following],
        )
        return _question(prompt, candidates, hidden)

    def pattern(self, known: ListedRows, row: int, random: np.random.Generator) -> Question:
        """Recommendation pattern simulating: which item the recommender ranks first."""
        first, *others = known.following[row].tolist()
        candidates = self._filled([first, *others], random)
        prompt = self.titles.prompt(
            PATTERN.replace("{recommender}", self.recommender),
            history=_history(known.rows, row),
            candidates=candidates.tolist(),
            ranking=[MASK, *others],
        )
        return _question(prompt, candidates, first)

    def next_item(self, known: ListedRows, row: int, random: np.random.Generator) -> Question:
        """Which item comes next, among it and random ones."""
        target = int(known.rows.target[row])
        candidates = self._filled([target], random)
        return self.among(known.rows, row, candidates, target)

    def among(
        self, rows: Examples, row: int, candidates: Ids, answer: int | None = None
    ) -> Question:
        """Which of some candidates, in the order given, comes next."""
        prompt = self.titles.prompt(
            NEXT, history=_history(rows, row), candidates=candidates.tolist()
        )
        return _question(prompt, candidates, answer)

    def _filled(self, chosen: Sequence[int], random: np.random.Generator) -> Ids:
        return with_random(chosen[: self.candidates], self.candidates, self.n_items, random)


def _history(rows: Examples, row: int) -> list[int]:
    return rows.history[row, : rows.length[row]].tolist()


def _question(prompt: list[int], candidates: Ids, answer: int | None) -> Question:
    place = 0 if answer is None else int(np.flatnonzero(candidates == answer)[0])
    return Question(prompt, candidates, place)
