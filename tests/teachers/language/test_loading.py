"""Models and tokenizers are loaded whole, or one clear error says why not."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from bench.data.examples import PreparedData
from bench.errors import ConfigError
from bench.teachers.language.loading import CAUSAL, ENCODER_DECODER, load
from bench.teachers.weights import find

from .tiny import END, PAD, make_causal

pytest.importorskip("transformers", reason="needs the extra 'llm'")


@pytest.fixture
def copied(tiny_causal: Path, tmp_path: Path) -> Path:
    """A copy of the causal model that may be spoiled."""
    return shutil.copytree(tiny_causal, tmp_path / "copied")


def test_a_causal_model(tiny_causal: Path) -> None:
    loaded = load(find(str(tiny_causal), Path()), CAUSAL, "cpu", "float32")
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    assert loaded.device == torch.device("cpu")
    assert loaded.tokenizer.padding_side == "left"
    assert loaded.tokenizer.pad_token == END  # it has none of its own
    half = load(find(str(tiny_causal), Path()), CAUSAL, "cpu", "bfloat16")
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.bfloat16}


def test_an_encoder_decoder_model(tiny_encoder_decoder: Path) -> None:
    loaded = load(find(str(tiny_encoder_decoder), Path()), ENCODER_DECODER, "cpu", "float32")
    assert loaded.tokenizer.padding_side == "right" and loaded.tokenizer.pad_token == PAD
    tokens = loaded.tokenizer("Thing number 3", return_tensors="pt")
    with torch.no_grad():
        assert loaded.model(**tokens, labels=tokens["input_ids"]).loss.isfinite()


def test_identity_is_that_of_weights_and_tokenizer(tiny_causal: Path, copied: Path) -> None:
    def identity(folder: Path) -> str:
        return load(find(str(folder), Path()), CAUSAL, "cpu", "float32").identity

    assert identity(copied) == identity(tiny_causal)
    tokenizer = json.loads((copied / "tokenizer.json").read_text())
    tokenizer["model"]["unk_token"] = END
    (copied / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert identity(copied) != identity(tiny_causal)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/no/such/folder", "'/no/such/folder': no such folder"),
        ("./models/llama", "no such folder"),
        ("no-such-group/no-such-model", "neither a local folder nor a model that can be fetched"),
    ],
)
def test_models_that_are_not_there(
    name: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=message) as caught:
        load(find(name, Path()), CAUSAL, "cpu", "float32")
    assert "\n" not in str(caught.value)


def test_the_other_architecture_is_refused(
    tiny_causal: Path, tiny_encoder_decoder: Path, tiny_encoder: Path
) -> None:
    with pytest.raises(ConfigError, match=r"no encoder-decoder .* says LlamaForCausalLM"):
        load(find(str(tiny_causal), Path()), ENCODER_DECODER, "cpu", "float32")
    with pytest.raises(ConfigError, match=r"no causal .* says T5ForConditionalGeneration"):
        load(find(str(tiny_encoder_decoder), Path()), CAUSAL, "cpu", "float32")
    with pytest.raises(ConfigError, match=r"no causal .* says BertModel"):
        load(find(str(tiny_encoder), Path()), CAUSAL, "cpu", "float32")


def test_folders_that_lack_something(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no \*.safetensors or \*.gguf, but copied"):
        load(find(str(tmp_path), Path()), CAUSAL, "cpu", "float32")
    (copied / "config.json").unlink()
    with pytest.raises(ConfigError, match="holds no model that transformers can load"):
        load(find(str(copied), Path()), CAUSAL, "cpu", "float32")
    (copied / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"holds no \*.safetensors or \*.gguf"):
        load(find(str(copied), Path()), CAUSAL, "cpu", "float32")


def test_a_tokenizer_of_another_model(tiny_causal: Path, toy: PreparedData, tmp_path: Path) -> None:
    folder = make_causal(tmp_path / "fewer", toy.item_texts[:3])
    for file in tiny_causal.glob("tokenizer*"):
        shutil.copy(file, folder)
    with pytest.raises(ConfigError, match=r"tokenizer has \d+ tokens, the model knows \d+"):
        load(find(str(folder), Path()), CAUSAL, "cpu", "float32")


def test_a_tokenizer_without_an_end(copied: Path) -> None:
    file = copied / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    file.write_text(json.dumps({**settings, "eos_token": None}))
    with pytest.raises(ConfigError, match="its tokenizer has no token that ends a text"):
        load(find(str(copied), Path()), CAUSAL, "cpu", "float32")


def test_without_transformers(tiny_causal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match="the packages of the extra 'llm'"):
        load(find(str(tiny_causal), Path()), CAUSAL, "cpu", "float32")
