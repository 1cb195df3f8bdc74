"""Titles that a causal language model writes after prompts, freely or out of a catalogue."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from torch import Tensor

from bench.errors import ConfigError
from bench.teachers.kinds.bigrec.instructions import Tokens, title_in
from bench.teachers.kinds.bigrec.trie import TitleTrie
from bench.teachers.language.loading import LanguageModel, peft_package
from bench.teachers.language.tuning import with_adapter

Writer = Callable[[Sequence[Tokens]], list[str]]
"""The title that is written after each prompt of a batch."""


class GenerationOptions(BaseModel):
    """How titles are written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    beams: PositiveInt = Field(4, description="the first one's text is the title; 1 is greedy")
    decode: Literal["free", "catalogue"] = Field(
        "free", description="`catalogue` lets the model write titles of the catalogue alone"
    )
    max_new_tokens: PositiveInt | None = Field(
        None, description="null: those of the longest title of the catalogue"
    )
    batch_size: PositiveInt = Field(8, description="prompts that are answered at once")
    vllm: dict[str, Any] | None = Field(
        None, description="write with vLLM, with these arguments of `vllm.LLM`"
    )

    @model_validator(mode="after")
    def _whole_titles(self) -> GenerationOptions:
        if self.decode == "catalogue" and self.max_new_tokens is not None:
            raise ValueError("'decode: catalogue' writes whole titles: leave 'max_new_tokens' out")
        if self.decode == "catalogue" and self.vllm is not None:
            raise ValueError("'decode: catalogue' is not done by vLLM: leave 'vllm' out")
        return self


def check_installed(options: GenerationOptions) -> None:
    """Refuse what could not be done later.

    Raises:
        ConfigError: peft is not installed, or vLLM is asked for and not installed.
    """
    peft_package()
    if options.vllm is not None and find_spec("vllm") is None:
        raise ConfigError(
            "'generation.vllm' is set and vLLM is not installed: install the package vllm, or set "
            "it to null to write with transformers"
        )


@dataclass(frozen=True)
class Answers:
    """The titles of a catalogue as a model would write them.

    Attributes:
        titles: N titles.
        tokens: of each, with the end of the text.
    """

    titles: Sequence[str]
    tokens: Sequence[Tokens]

    def new_tokens(self, options: GenerationOptions) -> int:
        """How many tokens are written at most."""
        return options.max_new_tokens or max(map(len, self.tokens))


@contextlib.contextmanager
def writer(
    language: LanguageModel, adapter: Path, options: GenerationOptions, answers: Answers
) -> Iterator[Writer]:
    """What writes titles with the tuned model; `language` is the untuned one again afterwards.

    Args:
        language: the untuned model.
        adapter: folder of what was tuned.
        options: of the generation.
        answers: what could be written.
    """
    if options.vllm is not None:
        yield _with_vllm(language, adapter, options, options.vllm, answers.new_tokens(options))
        return
    with with_adapter(language, adapter):
        yield with_transformers(language, options, answers)


def with_transformers(
    language: LanguageModel, options: GenerationOptions, answers: Answers
) -> Writer:
    """What writes titles with the model as it is."""
    arguments: dict[str, Any] = {
        "do_sample": False,
        "num_beams": options.beams,
        "num_return_sequences": 1,
        "max_new_tokens": answers.new_tokens(options),
        "eos_token_id": language.tokenizer.eos_token_id,
        "pad_token_id": language.tokenizer.pad_token_id,
    }
    if options.decode == "free":
        return lambda prompts: _titles(language, _continued(language, prompts, arguments))
    trie = TitleTrie(answers.titles, answers.tokens)

    def write(prompts: Sequence[Tokens]) -> list[str]:
        start = max(map(len, prompts))
        end = [int(language.tokenizer.eos_token_id)]

        def allowed(row: int, tokens: Tensor) -> list[int]:
            return trie.after(tokens[start:].tolist()) or end

        new = _continued(language, prompts, arguments | {"prefix_allowed_tokens_fn": allowed})
        return [trie.title(one) for one in new.tolist()]

    return write


@torch.no_grad()
def _continued(
    language: LanguageModel, prompts: Sequence[Tokens], arguments: dict[str, Any]
) -> Tensor:
    """What follows on n prompts, int64 [n, longest], padded on the right."""
    # The new tokens of all rows must follow directly on their prompts: these end where all end.
    batch = language.batch(prompts, "left")
    tokens = language.model.generate(
        **batch, **_read_once(language, batch, arguments["num_beams"]), **arguments
    )
    return tokens[:, batch["input_ids"].shape[1] :]


def _read_once(language: LanguageModel, batch: dict[str, Tensor], beams: int) -> dict[str, Any]:
    """The prompts' keys and values, which `generate` would compute anew for every beam.

    Their last token is left to `generate`. A model that takes no positions gets nothing.
    """
    takes = inspect.signature(language.model.forward).parameters
    if beams == 1 or "position_ids" not in takes or batch["input_ids"].shape[1] < 2:
        return {}
    from transformers import DynamicCache

    name = "cache" if "cache" in takes else "past_key_values"
    read, kept = {key: value[:, :-1] for key, value in batch.items()}, DynamicCache()
    positions = (read["attention_mask"].cumsum(1) - 1).clamp_min(0)
    language.model.base_model(**read, position_ids=positions, use_cache=True, **{name: kept})
    kept.batch_repeat_interleave(beams)
    return {name: kept}


def _with_vllm(
    language: LanguageModel,
    adapter: Path,
    options: GenerationOptions,
    arguments: dict[str, Any],
    new_tokens: int,
) -> Writer:
    from vllm import LLM
    from vllm.lora.request import LoRARequest
    from vllm.sampling_params import BeamSearchParams

    dtype = str(language.model.dtype).removeprefix("torch.")
    engine = LLM(model=language.source, dtype=dtype, enable_lora=True, **arguments)
    request = LoRARequest("tuned", 1, str(adapter))
    params = BeamSearchParams(beam_width=options.beams, max_tokens=new_tokens)

    def write(prompts: Sequence[Tokens]) -> list[str]:
        asked = [{"prompt_token_ids": prompt.tolist()} for prompt in prompts]
        outputs = engine.beam_search(asked, params, lora_request=request)
        best = [output.sequences[0].tokens for output in outputs]
        return _titles(
            language, [all_[len(one) :] for all_, one in zip(best, prompts, strict=True)]
        )

    return write


def _titles(language: LanguageModel, tokens: Any) -> list[str]:
    texts = language.tokenizer.batch_decode(tokens, skip_special_tokens=True)
    return [title_in(text) for text in texts]
