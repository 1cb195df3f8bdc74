"""Item titles as tokens, and prompts that are put together from them."""

from __future__ import annotations

import string
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any

MASK = 0
"""The id, which no item has, that stands for the hidden item in a list of items."""

Tokens = list[int]

_MASK_TEXT, _BETWEEN = "[MASK]", ";"


class Titles:
    """Tokens of all titles, made once.

    Args:
        titles: the N titles, item i is `titles[i - 1]`.
        tokenizer: of transformers; it has a token that ends a text.
        longest: tokens after which a title is cut off.
        ends: whether a prompt ends with that token; what goes on from a prompt must not read it.
    """

    def __init__(
        self, titles: Sequence[str], tokenizer: Any, longest: int, ends: bool = True
    ) -> None:
        cut = tokenizer(list(titles), add_special_tokens=False, truncation=True, max_length=longest)
        self.end = int(tokenizer.eos_token_id)
        self._prompt_end = [self.end] if ends else []
        self._titles: list[Tokens] = [self._tokens(tokenizer, _MASK_TEXT), *cut["input_ids"]]
        self._between = self._tokens(tokenizer, _BETWEEN)
        self._literal = cache(lambda text: self._tokens(tokenizer, text))

    def __len__(self) -> int:
        """N, the number of items."""
        return len(self._titles) - 1

    def answer(self, item: int) -> Tokens:
        """An item's title and the end: what tells it from a title that it begins."""
        return [*self._titles[item], self.end]

    def prompt(self, template: str, **lists: Sequence[int]) -> Tokens:
        """A template whose `{names}` are replaced by titles of lists of items, and its end."""
        parts: list[Tokens] = []
        for literal, name, _, _ in string.Formatter().parse(template):
            parts.append(self._literal(literal))
            if name is not None:
                parts.append(self._listed(lists[name]))
        return [*chain.from_iterable(parts), *self._prompt_end]

    def _listed(self, items: Sequence[int]) -> Tokens:
        tokens: Tokens = []
        for place, item in enumerate(items):
            tokens += (self._between if place else []) + self._titles[item]
        return tokens

    @staticmethod
    def _tokens(tokenizer: Any, text: str) -> Tokens:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])
