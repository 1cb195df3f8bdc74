"""Rows as instructions in the layout of Alpaca: which title comes after these (BIGRec)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from bench.data.rows import PreparedData
from bench.errors import DataError

Tokens = list[int]

PROMPT = """### Instruction:
A user has {done} each {item} in the input, in this order. Answer with the title of a new {item} \
that the user will want next.

### Input:
{titles}

### Response:
"""


class Words(BaseModel):
    """What a dataset's items are called in the instruction."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    item: str = Field("item", description="one of them: game, movie")
    done: str = Field("chosen", description="what users did with it: played, watched")


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
        tokens = self._tokens(map(self._prompt, items))
        while cut := [
            row
            for row, prompt in enumerate(tokens)
            if len(prompt) > self._longest and len(items[row]) > 1
        ]:
            for row in cut:
                items[row] = items[row][1:]
            for row, prompt in zip(
                cut, self._tokens(self._prompt(items[row]) for row in cut), strict=True
            ):
                tokens[row] = prompt
        return tokens

    def answers(self, items: NDArray[Any]) -> list[Tokens]:
        """The quoted titles of items, int [n], and the end of the text."""
        texts = [self._quoted[item - 1] for item in items.tolist()]
        if not texts:
            return []
        plain = self._tokenizer(texts, add_special_tokens=False)["input_ids"]
        return [[*tokens, self._tokenizer.eos_token_id] for tokens in plain]

    def _prompt(self, items: Sequence[int]) -> str:
        titles = ", ".join(self._quoted[item - 1] for item in items)
        return PROMPT.format(titles=titles, **self._words.model_dump())

    def _tokens(self, texts: Iterable[str]) -> list[Tokens]:
        listed = list(texts)
        return self._tokenizer(listed)["input_ids"] if listed else []


def titles_of(data: PreparedData, end: str) -> list[str]:
    """The N titles; an item without one is called by its token.

    Args:
        data: the catalogue.
        end: what follows the title in an item's text, such as `. Genres: `; empty if nothing does.

    Raises:
        DataError: no item has a text.
    """
    if not any(text.strip() for text in data.item_texts):
        raise DataError(
            f"the items of '{data.dataset}' have no titles, and this teacher reads nothing else; "
            "import the dataset with a table of items that has a column 'title'"
        )
    titles = [text.split(end)[0] if end else text for text in data.item_texts]
    return [title.strip() or token for title, token in zip(titles, data.item_tokens, strict=True)]


def title_in(text: str) -> str:
    """The title in what a model wrote: the first line that is not empty, without its quotes."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return first.strip().strip('"').strip()
