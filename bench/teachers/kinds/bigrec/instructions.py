"""Rows as instructions in the layout of Alpaca: which title comes after these (BIGRec)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.fingerprints import digest
from bench.teachers.language.titles import Words

Tokens = NDArray[np.int32]
"""One text, int32 [length]."""

CHUNK = 4096
"""Texts that are made tokens at a time: as Python's integers they take ten times the memory."""

PROMPT = """### Instruction:
A user has {done} each {item} in the input, in this order. Answer with the title of a new {item} \
that the user will want next.

### Input:
{titles}

### Response:
"""


class Instructions:
    """Prompts and answers as tokens.

    Args:
        titles: the N titles, item i is `titles[i - 1]`.
        words: what items are called.
        tokenizer: of transformers.
        longest: tokens of a prompt; a longer one loses its oldest titles, but never the last.
    """

    def __init__(self, titles: Sequence[str], words: Words, tokenizer: Any, longest: int) -> None:
        self._quoted = [f'"{title}"' for title in titles]
        self._words, self._tokenizer, self._longest = words, tokenizer, longest

    def prompts(self, history: NDArray[Any], length: NDArray[Any]) -> list[Tokens]:
        """What is asked of n histories.

        Args:
            history: int [n, L], ids 1..N, oldest first, padded with 0 on the right.
            length: int [n].
        """
        items = [row[:real].tolist() for row, real in zip(history, length, strict=True)]
        tokens = self._tokens([self._prompt(one) for one in items])
        while cut := [
            row
            for row, prompt in enumerate(tokens)
            if len(prompt) > self._longest and len(items[row]) > 1
        ]:
            for row in cut:
                items[row] = items[row][1:]
            shorter = self._tokens([self._prompt(items[row]) for row in cut])
            for row, prompt in zip(cut, shorter, strict=True):
                tokens[row] = prompt
        return tokens

    def answers(self, items: NDArray[Any]) -> list[Tokens]:
        """The quoted titles of items, int [n], and the end of the text."""
        plain = self._tokens([self._quoted[item - 1] for item in items.tolist()], special=False)
        end = np.int32(self._tokenizer.eos_token_id)
        return [np.append(tokens, end) for tokens in plain]

    def _prompt(self, items: Sequence[int]) -> str:
        titles = ", ".join(self._quoted[item - 1] for item in items)
        return PROMPT.format(titles=titles, **self._words.model_dump())

    def _tokens(self, texts: Sequence[str], special: bool = True) -> list[Tokens]:
        found: list[Tokens] = []
        for start in range(0, len(texts), CHUNK):
            part = self._tokenizer(texts[start : start + CHUNK], add_special_tokens=special)
            found += [np.asarray(one, dtype=np.int32) for one in part["input_ids"]]
        return found


def tokens_digest(texts: Sequence[Tokens]) -> str:
    """Hash of texts in their order, in hex."""
    lengths = np.asarray([len(text) for text in texts], dtype=np.int64)
    return digest(lengths, np.concatenate(texts) if texts else lengths)


def title_in(text: str) -> str:
    """The title in what a model wrote: the first line that is not empty, without its quotes."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return first.strip().strip('"').strip()
