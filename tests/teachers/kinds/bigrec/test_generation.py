"""What is written for a prompt is the model's own answer, whatever else is in the batch."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from bench.data.examples import PreparedData
from bench.errors import ConfigError
from bench.teachers.kinds.bigrec.generation import (
    GenerationOptions,
    check_installed,
    with_transformers,
)
from bench.teachers.kinds.bigrec.instructions import Instructions, Tokens, Words, title_in
from bench.teachers.language.loading import CAUSAL, LanguageModel, load
from bench.teachers.weights import find

from ...conftest import PROMPTS
from ...language.tiny import PAD, make_tokenizer

pytest.importorskip("transformers", reason="needs the extra 'llm'")


def make_absolute(folder: Path, texts: list[str]) -> Path:
    """A GPT-2, which adds a vector to each position: padding that moves positions shows."""
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = make_tokenizer(folder, texts, ends=False, pads=False)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=32,
        n_layer=2,
        n_head=2,
        n_positions=256,
        initializer_range=0.3,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["relative", "absolute"])
def language(
    request: pytest.FixtureRequest,
    toy: PreparedData,
    tiny_causal: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> LanguageModel:
    folder = tiny_causal
    if request.param == "absolute":
        folder = make_absolute(tmp_path_factory.mktemp("gpt2"), [PROMPTS, *toy.item_texts])
    return load(find(str(folder), Path()), CAUSAL, "cpu", "float32")


@pytest.fixture(scope="module")
def prompts(language: LanguageModel, toy: PreparedData) -> list[Tokens]:
    """Prompts of one to four titles."""
    words = Instructions(toy.item_texts, Words(), language.tokenizer, 999)
    found = words.prompts(toy.train.history[:24], toy.train.length[:24])
    assert len({len(one) for one in found}) == 4
    return found


@torch.no_grad()
def greedy(language: LanguageModel, prompt: Tokens, steps: int) -> list[int]:
    """The likeliest token again and again, by plain calls of the model without any padding."""
    tokens = prompt.tolist()
    for _ in range(steps):
        logits = language.model(input_ids=torch.tensor([tokens])).logits
        tokens.append(int(logits[0, -1].argmax()))
        if tokens[-1] == language.tokenizer.eos_token_id:
            break
    return tokens[len(prompt) :]


@torch.no_grad()
def by_beams(language: LanguageModel, prompt: Tokens, beams: int, steps: int) -> list[int]:
    """Beam search without an end: the likeliest of `beams` continuations of `steps` tokens."""
    kept: list[tuple[float, list[int]]] = [(0.0, [])]
    for _ in range(steps):
        longer = []
        for total, tokens in kept:
            logits = language.model(input_ids=torch.tensor([[*prompt, *tokens]])).logits[0, -1]
            scores = torch.log_softmax(logits, dim=0).tolist()
            longer += [(total + score, [*tokens, token]) for token, score in enumerate(scores)]
        kept = sorted(longer, reverse=True)[:beams]
    return kept[0][1]


def text_of(language: LanguageModel, tokens: list[int]) -> str:
    return title_in(language.tokenizer.decode(tokens, skip_special_tokens=True))


def test_padding_changes_nothing(language: LanguageModel, prompts: list[Tokens]) -> None:
    options = GenerationOptions(beams=1, max_new_tokens=6)
    together = with_transformers(language, prompts, options)
    assert together == [text_of(language, greedy(language, one, 6)) for one in prompts]
    assert len(set(together)) > 5


def test_beams(language: LanguageModel, prompts: list[Tokens]) -> None:
    language = copy.deepcopy(language)
    language.tokenizer.pad_token = PAD
    language.tokenizer.eos_token = None  # all texts have one length
    language.model.generation_config.eos_token_id = None
    options = GenerationOptions(beams=3, max_new_tokens=3)
    together = with_transformers(language, prompts[:8], options)
    assert together == [text_of(language, by_beams(language, one, 3, 3)) for one in prompts[:8]]
    alone = GenerationOptions(beams=1, max_new_tokens=3)
    assert together != with_transformers(language, prompts[:8], alone)


def test_vllm_that_is_not_there_is_told_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_installed(GenerationOptions())
    monkeypatch.setattr("bench.teachers.kinds.bigrec.generation.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="vLLM is not installed"):
        check_installed(GenerationOptions(vllm={"gpu_memory_utilization": 0.5}))
