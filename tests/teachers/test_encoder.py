"""Encoding: the real weights, a local encoder, and what cannot be had."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from bench.errors import ConfigError
from bench.teachers.encoder import MINILM, MINILM_PACKAGE, encode

from ..listening import listening

pytest.importorskip("transformers", reason="needs the extra 'text'")

TEXTS = ["a b c", "c", "a a b", "", "b c d e f g h"]


def test_vectors_are_of_unit_length_and_do_not_depend_on_the_company(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    together = encode(TEXTS, str(tiny_encoder), tmp_path)
    assert together.shape == (5, 8) and together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-5)
    for index, text in enumerate(TEXTS):
        alone = encode([text], str(tiny_encoder), tmp_path)
        np.testing.assert_allclose(alone[0], together[index], atol=1e-5)


def test_texts_are_encoded_once(tiny_encoder: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    with listening(lines.append):
        first = encode(TEXTS, str(tiny_encoder), tmp_path)
        assert any("encoding texts: 5 of 5" in line for line in lines)
        lines.clear()
        again = encode(TEXTS, str(tiny_encoder), tmp_path)
        assert lines == []
        np.testing.assert_array_equal(first, again)
        encode([*TEXTS, "h"], str(tiny_encoder), tmp_path)
        assert lines != []
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(
    importlib.util.find_spec(MINILM_PACKAGE) is None, reason="needs the extra 'text'"
)
def test_the_default_encoder_knows_what_words_mean(tmp_path: Path) -> None:
    texts = ["The Legend of Zelda", "Super Mario adventure game", "USB charging cable"]
    vectors = encode(texts, MINILM, tmp_path)
    assert vectors.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > likeness[0, 2] + 0.1


def test_a_name_that_cannot_be_fetched_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError) as caught:
        encode(["a"], "no-such-group/no-such-encoder", tmp_path)
    message = str(caught.value)
    assert "'no-such-group/no-such-encoder' is neither a local folder" in message
    assert MINILM in message and "\n" not in message


def test_a_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no"):
        encode(["a"], str(tmp_path), tmp_path)
