"""What is written for a prompt is the model's own answer, whatever else is in the batch."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.data.examples import PreparedData
from bench.errors import ConfigError
from bench.teachers.kinds.bigrec.generation import (
    Answers,
    GenerationOptions,
    check_installed,
    with_transformers,
)
from bench.teachers.kinds.bigrec.instructions import Instructions, Tokens, title_in
from bench.teachers.kinds.bigrec.trie import TitleTrie
from bench.teachers.language.loading import CAUSAL, LanguageModel, load
from bench.teachers.language.titles import Words
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


def written(
    language: LanguageModel, prompts: list[Tokens], options: GenerationOptions, answers: Answers
) -> list[str]:
    """What the model as it is writes after prompts."""
    return with_transformers(language, options, answers)(prompts)


@pytest.fixture(scope="module")
def answers(language: LanguageModel, toy: PreparedData) -> Answers:
    words = Instructions(toy.item_texts, Words(), language.tokenizer, 999)
    return Answers(toy.item_texts, words.answers(np.arange(1, toy.n_items + 1)))


def text_of(language: LanguageModel, tokens: list[int]) -> str:
    return title_in(language.tokenizer.decode(tokens, skip_special_tokens=True))


def test_padding_changes_nothing(
    language: LanguageModel, prompts: list[Tokens], answers: Answers
) -> None:
    options = GenerationOptions(beams=1, max_new_tokens=6)
    together = written(language, prompts, options, answers)
    assert together == [text_of(language, greedy(language, one, 6)) for one in prompts]
    assert len(set(together)) > 5


def endless(language: LanguageModel) -> LanguageModel:
    """The model without an end of text: all that it writes has one length."""
    language = copy.deepcopy(language)
    language.tokenizer.pad_token = PAD
    language.tokenizer.eos_token = None
    language.model.generation_config.eos_token_id = None
    return language


def test_beams(language: LanguageModel, prompts: list[Tokens], answers: Answers) -> None:
    language = endless(language)
    options = GenerationOptions(beams=3, max_new_tokens=3)
    together = written(language, prompts[:8], options, answers)
    assert together == [text_of(language, by_beams(language, one, 3, 3)) for one in prompts[:8]]
    alone = GenerationOptions(beams=1, max_new_tokens=3)
    assert together != written(language, prompts[:8], alone, answers)


def test_a_prompt_is_read_once_for_all_beams(
    language: LanguageModel, prompts: list[Tokens], answers: Answers
) -> None:
    rows_read = []
    hook = language.model.get_input_embeddings().register_forward_pre_hook(
        lambda module, given: rows_read.append(tuple(given[0].shape))
    )
    written(language, prompts[:4], GenerationOptions(beams=3, max_new_tokens=3), answers)
    hook.remove()
    longest = max(map(len, prompts[:4]))
    assert rows_read[0] == (4, longest - 1)
    assert set(rows_read[1:]) == {(12, 1)}


def test_no_text_is_longer_than_the_longest_title(
    language: LanguageModel, prompts: list[Tokens], answers: Answers
) -> None:
    longest = max(len(one) for one in answers.tokens)
    language = endless(language)
    found = written(language, prompts[:4], GenerationOptions(beams=1), answers)
    assert found == [text_of(language, greedy(language, one, longest)) for one in prompts[:4]]


@torch.no_grad()
def by_tree(
    language: LanguageModel, prompt: Tokens, answers: Answers, beams: int
) -> dict[str, float]:
    """The titles that beam search along the catalogue ends at, and their mean log-likelihoods."""
    kept: list[tuple[float, list[int]]] = [(0.0, [])]
    ended: dict[str, float] = {}
    known = [one.tolist() for one in answers.tokens]
    while kept:
        longer = []
        for total, tokens in kept:
            logits = language.model(input_ids=torch.tensor([[*prompt, *tokens]])).logits[0, -1]
            scores = torch.log_softmax(logits.float(), dim=0)
            following = {one[len(tokens)] for one in known if one[: len(tokens)] == tokens}
            longer += [(total + float(scores[token]), [*tokens, token]) for token in following]
        kept = []
        for total, tokens in sorted(longer, reverse=True)[: beams if beams == 1 else 2 * beams]:
            if tokens in known:
                ended[answers.titles[known.index(tokens)]] = total / len(tokens)
            elif len(kept) < beams:
                kept.append((total, tokens))
        if beams == 1:
            kept = kept[:1] if not ended else []
    return ended


@pytest.mark.parametrize("beams", [1, 3])
def test_what_is_written_along_the_catalogue_is_a_title(
    language: LanguageModel, prompts: list[Tokens], answers: Answers, beams: int
) -> None:
    options = GenerationOptions(beams=beams, decode="catalogue")
    found = written(language, prompts, options, answers)
    assert set(found) <= set(answers.titles)
    for title, prompt in zip(found[:8], prompts, strict=False):
        ended = by_tree(language, prompt, answers, beams)
        assert ended[title] == pytest.approx(max(ended.values()), abs=1e-4)


def test_titles_that_no_decoder_could_tell_from_text_come_back_whole() -> None:
    titles = ['"Cats" at "Night"', " spaced ", "ab", "abc", "ab"]
    tokens = [np.array(one, dtype=np.int32) for one in ([5, 1], [6, 1], [7, 1], [7, 8, 1], [7, 1])]
    trie = TitleTrie(titles, tokens)
    assert sorted(trie.after([])) == [5, 6, 7] and sorted(trie.after([7])) == [1, 8]
    assert trie.after([7, 1]) == trie.after([9]) == trie.after([7, 9, 1]) == []
    assert [trie.title([*one, 0, 0]) for one in tokens[:4]] == titles[:4]
    with pytest.raises(KeyError):
        trie.title([7])


@pytest.mark.parametrize("changes", [{"max_new_tokens": 8}, {"vllm": {}}])
def test_what_cannot_be_led_along_titles(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"leave '{next(iter(changes))}' out"):
        GenerationOptions.model_validate({"decode": "catalogue", **changes})


def test_vllm_that_is_not_there_is_told_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_installed(GenerationOptions())
    monkeypatch.setattr("bench.teachers.kinds.bigrec.generation.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="vLLM is not installed"):
        check_installed(GenerationOptions(vllm={"gpu_memory_utilization": 0.5}))
