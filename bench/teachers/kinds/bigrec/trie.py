"""The titles of a catalogue as a tree of tokens, along which a model can be led."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.teachers.kinds.bigrec.instructions import Tokens

_TITLE = -1
"""The key, which no token has, of the title that ends here."""


class TitleTrie:
    """Which tokens may follow, so that a title of the catalogue comes out.

    Args:
        titles: n titles.
        answers: their tokens, each with the end of the text. Of titles with the same tokens the
            first one counts.
    """

    def __init__(self, titles: Sequence[str], answers: Sequence[Tokens]) -> None:
        self._root: dict[int, Any] = {}
        for title, answer in zip(titles, answers, strict=True):
            node = self._root
            for token in answer.tolist():
                node = node.setdefault(token, {})
            node.setdefault(_TITLE, title)

    def after(self, tokens: Sequence[int]) -> list[int]:
        """The tokens that lead on to a title; none behind its end, or where no title begins so."""
        return [token for token in self._node(tokens) if token != _TITLE]

    def title(self, tokens: Sequence[int]) -> str:
        """The title that these tokens, and whatever pads them, spell.

        Raises:
            KeyError: they spell none.
        """
        node = self._root
        for token in tokens:
            if _TITLE in node:
                break
            node = node[token]
        return str(node[_TITLE])

    def _node(self, tokens: Sequence[int]) -> dict[int, Any]:
        node = self._root
        for token in tokens:
            node = node.get(token, {})
        return node
