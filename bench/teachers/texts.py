"""What is known of items by their texts, and the same of twins that know nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from bench.data.examples import PreparedData
from bench.limits import whole_number
from bench.plan import seed_of
from bench.teachers.encoder import MINILM, encode

Texts = Literal["own", "shuffled"]
"""Whose text an item has: its own, or that of another item, drawn at random."""

RANDOM, RANDOM_WIDTH, WIDEST = "random", 384, 1 << 16
"""The name of the encoder that knows nothing, and its width, that of MiniLM."""


class TextVectorOptions(BaseModel):
    """Options of every kind that knows items by vectors of their texts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str = Field(
        MINILM,
        description="reader of the texts: `all-MiniLM-L6-v2`, a local folder or `.gguf` file, "
        "`package:NAME` or a hub name; `random` (of width 384, or "
        "`random-WIDTH`) is a control: vectors drawn at random, one for every different text",
    )
    texts: Texts = Field("own", description="`shuffled` is a control: texts of other items")

    @property
    def notes(self) -> list[str]:
        """What makes the teacher a control, for its manifest."""
        return [
            *(["A control: its text vectors are drawn at random."] if self.width_of_random else []),
            *notes_of(self.texts),
        ]

    @property
    def width_of_random(self) -> int | None:
        """Size of the random vectors; None for an encoder."""
        name, _, width = self.encoder.partition("-")
        return whole_number(width or str(RANDOM_WIDTH), WIDEST) if name == RANDOM else None


def notes_of(texts: Texts) -> list[str]:
    """What a manifest says of texts that are not the items' own."""
    return ["A control: every item has the text of another."] if texts == "shuffled" else []


def with_texts(data: PreparedData, texts: Texts) -> PreparedData:
    """The data with the texts that items are to have."""
    return replace(data, item_texts=[data.item_texts[place] for place in _order(data, texts)])


def text_vectors(
    data: PreparedData, options: TextVectorOptions, cache: Path, device: str
) -> NDArray[np.float32]:
    """Unit vectors of the items' texts, float32 [N, D].

    Raises:
        DataError: no item has a text.
        ConfigError: the encoder cannot be found, reached or trusted.
    """
    texts, width = data.texts(), options.width_of_random
    vectors = (
        random_vectors(texts, width) if width else encode(texts, options.encoder, cache, device)
    )
    return vectors[_order(data, options.texts)]


def _order(data: PreparedData, texts: Texts) -> NDArray[np.int64]:
    """Whose text each item has, [N]: shuffled, by one permutation that the catalogue decides."""
    if texts == "own":
        return np.arange(data.n_items)
    return np.random.default_rng(seed_of("texts", data.catalogue_fingerprint)).permutation(
        data.n_items
    )


def random_vectors(texts: Sequence[str], width: int) -> NDArray[np.float32]:
    """Unit vectors in random directions, float32 [n, width]; those of equal texts are equal.

    A vector depends on its text alone, not on the catalogue that it is in.
    """
    found = {text: _direction(text, width) for text in set(texts)}
    return np.stack([found[text] for text in texts])


def _direction(text: str, width: int) -> NDArray[np.float32]:
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    vector = np.random.default_rng(seed).standard_normal(width)
    return (vector / np.linalg.norm(vector)).astype(np.float32)
