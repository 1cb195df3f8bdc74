"""Things of four colours: any may be in a history, and what comes next is always golden."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.data.examples import Examples, PreparedData
from bench.teachers.kinds.delrec.questions import NEXT, PATTERN, TEMPORAL, Asking
from bench.teachers.kinds.delrec.titles import Titles
from bench.teachers.language.loading import ENCODER_DECODER, LanguageModel, load
from bench.teachers.weights import find

from ...language.tiny import make_causal, make_encoder_decoder

THINGS = ["ball", "car", "doll", "kite", "lamp", "ring", "top"]
COMMON = [f"{colour} {thing}" for colour in ("red", "blue", "green") for thing in THINGS]
TITLES = [*COMMON, *(f"gold {thing}" for thing in THINGS[:3])]
N_ITEMS, LENGTH, GOLD = len(TITLES), 6, len(COMMON) + 1
"""Items from `GOLD` on are golden."""
LONG = ["ball", "red ball car", "gold ring lamp kite doll"]
"""Titles of different lengths, one of which begins another."""


def make_rows(count: int, seed: int) -> Examples:
    """Rows with histories of one item or more."""
    random = np.random.default_rng(seed)
    length = random.integers(1, LENGTH + 1, count)
    history = random.integers(1, N_ITEMS + 1, (count, LENGTH))
    history[np.arange(LENGTH) >= length[:, None]] = 0
    return Examples(
        history=history.astype(np.int32),
        length=length.astype(np.int32),
        target=random.integers(GOLD, N_ITEMS + 1, count).astype(np.int32),
        user=(np.arange(count) % 20).astype(np.int32),
        ordinal=(np.arange(count) // 20 + LENGTH).astype(np.int32),
    )


def make_data(train: int) -> PreparedData:
    """Data with so many training rows."""
    return PreparedData(
        dataset="colours",
        protocol="temporal-6",
        item_tokens=[f"i{item}" for item in range(N_ITEMS)],
        item_texts=TITLES,
        user_tokens=[f"u{user}" for user in range(20)],
        train=make_rows(train, 0),
        valid=make_rows(12, 1),
        test=make_rows(12, 2),
        catalogue_fingerprint="colours",
        split_fingerprint="colours",
        fingerprint=f"colours-{train}",
    )


def make_folder(folder: Path) -> Path:
    """A T5 of one layer with random weights that knows the words of titles and prompts."""
    texts = [*TITLES, TEMPORAL, PATTERN, NEXT, "[MASK] ; SASRec"]
    return make_encoder_decoder(folder, texts, layers=1)


def make_causal_folder(folder: Path) -> Path:
    """The same as a LLaMA."""
    texts = [*TITLES, TEMPORAL, PATTERN, NEXT, "[MASK] ; SASRec"]
    return make_causal(folder, texts, layers=1)


def read(folder: Path) -> tuple[LanguageModel, Titles]:
    """The model, loaded anew, and its titles."""
    language = load(find(str(folder), Path()), ENCODER_DECODER, "cpu", "float32")
    return language, Titles(TITLES, language.tokenizer, 8)


def asking(titles: Titles, candidates: int = 6) -> Asking:
    """Questions of 6 candidates, with examples of 3 items, and 3 asked about."""
    return Asking(
        titles=titles,
        n_items=N_ITEMS,
        candidates=candidates,
        example_items=3,
        asked_items=3,
        recommender="SASRec",
    )
