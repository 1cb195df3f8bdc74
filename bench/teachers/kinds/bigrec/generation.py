"""Titles that a causal language model writes after prompts, by beam search."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from bench.errors import ConfigError
from bench.teachers.kinds.bigrec.instructions import Tokens, title_in
from bench.teachers.kinds.bigrec.tuning import with_adapter
from bench.teachers.language.loading import LanguageModel, peft_package

Writer = Callable[[Sequence[Tokens]], list[str]]
"""The title that is written after each prompt of a batch."""


class GenerationOptions(BaseModel):
    """How titles are written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    beams: PositiveInt = Field(4, description="the first one's text is the title")
    max_new_tokens: PositiveInt = 128
    batch_size: PositiveInt = Field(8, description="prompts that are answered at once")
    vllm: dict[str, Any] | None = Field(
        None, description="write with vLLM, with these arguments of `vllm.LLM`"
    )


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


@contextlib.contextmanager
def writer(language: LanguageModel, adapter: Path, options: GenerationOptions) -> Iterator[Writer]:
    """What writes titles with the tuned model; `language` is the untuned one again afterwards.

    Args:
        language: the untuned model.
        adapter: folder of what was tuned.
        options: of the generation.
    """
    if options.vllm is not None:
        yield _with_vllm(language, adapter, options, options.vllm)
        return
    with with_adapter(language, adapter):
        yield lambda prompts: with_transformers(language, prompts, options)


@torch.no_grad()
def with_transformers(
    language: LanguageModel, prompts: Sequence[Tokens], options: GenerationOptions
) -> list[str]:
    """The titles that the model, as it is, writes after n prompts."""
    # The new tokens of all rows must follow directly on their prompts: these end where all end.
    batch = language.batch(prompts, "left")
    tokens = language.model.generate(
        **batch,
        do_sample=False,
        num_beams=options.beams,
        num_return_sequences=1,
        max_new_tokens=options.max_new_tokens,
        eos_token_id=language.tokenizer.eos_token_id,
        pad_token_id=language.tokenizer.pad_token_id,
    )
    return _titles(language, tokens[:, batch["input_ids"].shape[1] :])


def _with_vllm(
    language: LanguageModel,
    adapter: Path,
    options: GenerationOptions,
    arguments: dict[str, Any],
) -> Writer:
    from vllm import LLM
    from vllm.lora.request import LoRARequest
    from vllm.sampling_params import BeamSearchParams

    dtype = str(language.model.dtype).removeprefix("torch.")
    engine = LLM(model=language.source, dtype=dtype, enable_lora=True, **arguments)
    request = LoRARequest("tuned", 1, str(adapter))
    params = BeamSearchParams(beam_width=options.beams, max_tokens=options.max_new_tokens)

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
