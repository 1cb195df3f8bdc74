"""A causal language model behind soft prompts, and how likely it finds candidates."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from bench.errors import ConfigError
from bench.teachers.kinds.delrec.questions import Question
from bench.teachers.kinds.delrec.soft_prompts import NOTHING, EncoderDecoder, PromptedModel
from bench.teachers.kinds.delrec.titles import Titles
from bench.teachers.language.loading import LanguageModel


class DecoderOnly(PromptedModel):
    """One that goes on from what it has read, such as LLaMA.

    The titles of all candidates follow on one prompt. Each sees the prompt and itself, and its
    positions are those that directly follow the prompt's.

    Raises:
        ConfigError: the model cannot be told positions, or not which logits are wanted.
    """

    def __init__(self, language: LanguageModel, titles: Titles, vectors: int, seed: int) -> None:
        takes = inspect.signature(language.model.forward).parameters
        if not {"position_ids", "logits_to_keep"} <= set(takes):
            raise ConfigError(
                f"language model '{language.name}' ({language.model.config.model_type}): candidates"
                " are scored by causal models that take positions and the places of logits, as "
                "LLaMA, Qwen and Gemma do with transformers 4.50 and later"
            )
        super().__init__(language, titles, vectors, seed)

    def scores(self, questions: Sequence[Question]) -> Tensor:
        vectors, real = self._behind([question.prompt for question in questions])
        rows = [[self.titles.answer(i) for i in one.candidates.tolist()] for one in questions]
        # The last token of a title is predicted, and predicts nothing.
        inputs = self._table([[t for title in row for t in title[:-1]] for row in rows], 0)
        owners = [[j for j, title in enumerate(row) for _ in title[:-1]] for row in rows]
        steps = [[step for title in row for step in range(len(title) - 1)] for row in rows]
        owner, read = self._table(owners, NOTHING), real.sum(1)
        width = vectors.shape[1]
        vectors = torch.cat([vectors, self.model.get_input_embeddings()(inputs)], dim=1)
        positions = torch.arange(width, device=read.device).expand(len(rows), -1)
        written = read[:, None] + self._table(steps, 0)
        first = int(read.min()) - 1
        logits = self.model(
            inputs_embeds=vectors,
            attention_mask=self._mask(real, owner, vectors.dtype),
            position_ids=torch.cat([positions, written], dim=1),
            use_cache=False,
            logits_to_keep=torch.arange(first, vectors.shape[1], device=read.device),
        ).logits
        labels, source = self._predicted(rows, read.tolist(), width)
        logits = logits.gather(1, (source - first)[:, :, None].expand(-1, -1, logits.shape[2]))
        whose = [[j for j, title in enumerate(row) for _ in title] for row in rows]
        return self._means(logits, labels, self._table(whose, NOTHING), len(rows[0]))

    def _states(self, vectors: Tensor, mask: Tensor) -> Tensor:
        states: Tensor = self.model.base_model(
            inputs_embeds=vectors, attention_mask=mask, use_cache=False
        ).last_hidden_state
        return states

    @staticmethod
    def _mask(real: Tensor, owner: Tensor, dtype: torch.dtype) -> Tensor:
        """What may not be seen, as what is added to attention: [B, 1, S, S].

        Args:
            real: [B, P], the places of soft prompts and prompts that hold something.
            owner: [B, T], the candidate that a later place belongs to.
            dtype: of the model.
        """
        prompt = functional.pad(real.bool(), (0, owner.shape[1]))
        whose = functional.pad(owner, (real.shape[1], 0), value=NOTHING - 1)
        same = whose[:, :, None] == whose[:, None, :]
        visible = (same & ~prompt[:, None, :] | prompt[:, None, :]).tril()
        # A place that holds nothing sees itself: a softmax over nothing is no number.
        visible |= torch.eye(visible.shape[1], dtype=torch.bool, device=visible.device)
        hidden = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
        return hidden.masked_fill(~visible, torch.finfo(dtype).min)[:, None]

    def _predicted(
        self, rows: Sequence[Sequence[list[int]]], read: Sequence[int], width: int
    ) -> tuple[Tensor, Tensor]:
        """The tokens of all titles, and the place whose logits tell each: int64 [B, T]."""
        sources = []
        for row, length in zip(rows, read, strict=True):
            places, start = [], width
            for title in row:
                places += [length - 1, *range(start, start + len(title) - 1)]
                start += len(title) - 1
            sources.append(places)
        tokens = [[token for title in row for token in title] for row in rows]
        return self._table(tokens, NOTHING), self._table(sources, width)


def prompted_model(
    language: LanguageModel, titles: Titles, vectors: int, seed: int
) -> PromptedModel:
    """The form that the model has; see `PromptedModel` for the arguments."""
    kind = EncoderDecoder if language.model.config.is_encoder_decoder else DecoderOnly
    return kind(language, titles, vectors, seed)
