"""What BIGRec tunes a language model for: the title of the next item, token by token."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from bench.teachers.kinds.bigrec.instructions import Tokens
from bench.teachers.language.loading import LanguageModel
from bench.teachers.language.tuning import TuningOptions

_IGNORED = -100


class TitleTuningOptions(TuningOptions):
    """How the adapters are tuned, and to what."""

    rows: PositiveInt | None = Field(1024, description="sample to learn from; null takes all rows")
    whole_text: bool = Field(True, description="learn prompt and title, not the title alone")


@dataclass(frozen=True)
class Example:
    """A prompt and its right answer, as tokens."""

    prompt: Tokens
    answer: Tokens


class NextTitle:
    """Cross entropy of the learned tokens.

    Args:
        language: the model; what adapters make of it is what is asked.
        whole_text: whether the prompt's tokens are learned too.
    """

    def __init__(self, language: LanguageModel, whole_text: bool) -> None:
        self.head = nn.Identity()
        self._language, self._whole_text = language, whole_text

    def loss(self, examples: Sequence[Example]) -> Tensor:
        """Summed over the examples; no logits are computed before the first that is learned."""
        model = self._language.model
        whole = [np.append(one.prompt, one.answer) for one in examples]
        batch = self._language.batch(whole, "right")
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, _IGNORED)
        if not self._whole_text:
            for row, one in enumerate(examples):
                labels[row, : len(one.prompt)] = _IGNORED
        first = 0 if self._whole_text else min(len(one.prompt) for one in examples) - 1
        places = torch.arange(first, labels.shape[1] - 1, device=labels.device)
        if "logits_to_keep" in inspect.signature(model.forward).parameters:
            logits = model(**batch, use_cache=False, logits_to_keep=places).logits
        else:  # a model of another kind, or an older transformers
            logits = model(**batch, use_cache=False).logits[:, places]
        return functional.cross_entropy(
            logits.float().flatten(0, 1),
            labels[:, first + 1 :].flatten(),
            ignore_index=_IGNORED,
            reduction="sum",
        )

    def count(self, example: Example) -> int:
        """Tokens of an example that are learned: the first one is never predicted."""
        return (len(example.prompt) - 1 if self._whole_text else 0) + len(example.answer)

    def tokens(self, example: Example) -> int:
        """Tokens of prompt and answer."""
        return len(example.prompt) + len(example.answer)
