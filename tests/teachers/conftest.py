"""A small dataset with a planted order: item i leads to item i + 1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.data.rows import PreparedData, Rows

N_ITEMS, N_ROWS, LENGTH = 30, 240, 4


def _make_rows(n: int, seed: int, users: int = 20) -> Rows:
    """Rows whose target follows the last item: item i leads to i + 1 (and N to 1)."""
    random = np.random.default_rng(seed)
    length = random.integers(1, LENGTH + 1, n)
    history = random.integers(1, N_ITEMS + 1, (n, LENGTH))
    history[np.arange(LENGTH) >= length[:, None]] = 0
    last = history[np.arange(n), length - 1]
    return Rows(
        history=history.astype(np.int32),
        length=length.astype(np.int32),
        target=(last % N_ITEMS + 1).astype(np.int32),
        user=(np.arange(n) % users).astype(np.int32),
        ordinal=(np.arange(n) // users + LENGTH).astype(np.int32),
    )


def _make_data(**changes: object) -> PreparedData:
    fields = {
        "dataset": "toy",
        "protocol": "temporal-4",
        "item_tokens": [f"i{index}" for index in range(N_ITEMS)],
        "item_texts": [f"Thing number {index}" for index in range(N_ITEMS)],
        "user_tokens": [f"u{index}" for index in range(20)],
        "train": _make_rows(N_ROWS, 0),
        "valid": _make_rows(60, 1),
        "test": _make_rows(60, 2),
        "catalogue_fingerprint": "catalogue-a",
        "split_fingerprint": "split-a",
        "fingerprint": "data-a",
    }
    return PreparedData(**{**fields, **changes})


@pytest.fixture
def data() -> PreparedData:
    return _make_data()


@pytest.fixture
def make_data() -> Callable[..., PreparedData]:
    """The same data with some fields changed."""
    return _make_data


@pytest.fixture
def make_rows() -> Callable[..., Rows]:
    """Rows of the planted order: how many, which seed, of how many users."""
    return _make_rows


@pytest.fixture(scope="session")
def toy() -> PreparedData:
    """The data once for many tests, which leave them as they are."""
    return _make_data()


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A one-layer encoder with random weights and a vocabulary of letters."""
    import torch

    pytest.importorskip("transformers", reason="needs the extra 'text'")
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]
    (folder / "vocab.txt").write_text("\n".join(words))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(words),
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
        )
        BertModel(config).save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder
