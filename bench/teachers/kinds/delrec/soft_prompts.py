"""Language models behind soft prompts, and how likely they find candidates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from bench.data.examples import Ids
from bench.errors import ConfigError
from bench.teachers.kinds.delrec.questions import Question
from bench.teachers.kinds.delrec.titles import Titles
from bench.teachers.language.loading import LanguageModel

NOTHING = -100
"""Stands where there is no token, and no candidate that it belongs to."""


class PromptedModel(nn.Module, ABC):
    """A frozen language model that reads k learned vectors before every prompt.

    The score of a candidate is the mean log-likelihood of the tokens of its title and of the end
    that follows it. The mean, since titles differ much in length (nine of ten in Amazon's games
    have 2 to 16 words): under the sum the shortest would lead whatever the prompt says.

    The titles of all candidates are written in one pass, each hidden from the others. That is the
    same as a pass for each, and the prompt's states are there once instead of m times.

    Args:
        language: the model.
        titles: of the catalogue.
        vectors: k; they begin as the vectors of k tokens drawn at random (Lester et al., 2021).
        seed: of the draw.

    Attributes:
        soft: float32 [k, D], the vectors.
        model: the model of transformers.
    """

    def __init__(self, language: LanguageModel, titles: Titles, vectors: int, seed: int) -> None:
        super().__init__()
        self.language, self.titles = language, titles
        self.model = language.model
        table = self.model.get_input_embeddings().weight
        drawn = torch.randint(len(table), (vectors,), generator=torch.Generator().manual_seed(seed))
        self.soft = nn.Parameter(table.detach()[drawn.to(table.device)].float())

    @abstractmethod
    def scores(self, questions: Sequence[Question]) -> Tensor:
        """Scores float32 [B, m] of the candidates of B questions of m candidates each."""

    @abstractmethod
    def _states(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """What the model makes of texts, [B, T, D], of their tokens' vectors and which are real."""

    def loss(self, questions: Sequence[Question]) -> Tensor:
        """Sum over the questions of the cross-entropy of the answer among the candidates."""
        scores = self.scores(questions)
        answers = torch.tensor([question.answer for question in questions], device=scores.device)
        return functional.cross_entropy(scores, answers, reduction="sum")

    @torch.no_grad()
    def title_vectors(self, at_once: int) -> NDArray[np.float32]:
        """Mean of the model's states of each title's tokens, behind the soft prompts.

        Args:
            at_once: titles that are computed at a time.

        Returns:
            float32 [N, D], row i - 1 is item i.
        """
        self.eval()
        k, found = len(self.soft), []
        for items in torch.arange(1, len(self.titles) + 1).split(at_once):
            vectors, mask = self._behind([self.titles.answer(item) for item in items.tolist()])
            states = self._states(vectors, mask)
            real = mask[:, k:, None].float()
            found.append(((states[:, k:].float() * real).sum(1) / real.sum(1)).cpu())
        return torch.cat(found).numpy()

    def _behind(self, texts: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
        """Vectors [B, k + T, D] of texts behind the soft prompts, and which of them are real."""
        batch = self.language.batch(texts, "right")
        vectors = self.model.get_input_embeddings()(batch["input_ids"])
        soft = self.soft.to(vectors.dtype).expand(len(texts), -1, -1)
        mask = functional.pad(batch["attention_mask"], (len(self.soft), 0), value=1)
        return torch.cat([soft, vectors], dim=1), mask

    def _table(self, lists: Sequence[Sequence[int]], filler: int) -> Tensor:
        """Lists of numbers side by side, int64 [B, longest]."""
        tensors = [torch.tensor(one) for one in lists]
        return pad_sequence(tensors, batch_first=True, padding_value=filler).to(self.soft.device)

    def _means(self, logits: Tensor, labels: Tensor, owner: Tensor, candidates: int) -> Tensor:
        """Mean log-likelihoods [B, m] of the labels [B, S] that belong to candidates 0..m-1."""
        unlikely = functional.cross_entropy(
            logits.float().transpose(1, 2), labels, ignore_index=NOTHING, reduction="none"
        )
        each = torch.arange(candidates, device=owner.device)
        own = (owner[:, None, :] == each[:, None]).float()
        return -(own @ unlikely[:, :, None]).squeeze(2) / own.sum(2)


class EncoderDecoder(PromptedModel):
    """One that reads with an encoder and writes with a decoder, such as T5.

    Positions must count as distances alone: only then is a title that is written behind others the
    same as one that is written first.

    Raises:
        ConfigError: the model's positions are not relative.
    """

    def __init__(self, language: LanguageModel, titles: Titles, vectors: int, seed: int) -> None:
        if not hasattr(language.model.config, "relative_attention_num_buckets"):
            raise ConfigError(
                f"language model '{language.name}' ({language.model.config.model_type}): candidates"
                " are scored by encoder-decoder models with relative positions, as those of the T5 "
                "family, or by causal models"
            )
        super().__init__(language, titles, vectors, seed)

    def scores(self, questions: Sequence[Question]) -> Tensor:
        vectors, mask = self._behind([question.prompt for question in questions])
        states = self._states(vectors, mask)
        labels, inputs, owner = self._written([question.candidates for question in questions])
        # A title sees itself and nothing of the titles before it.
        visible = (owner[:, :, None] == owner[:, None, :]).tril()
        hidden = torch.zeros(visible.shape, dtype=states.dtype, device=states.device)
        logits = self.model(
            encoder_outputs=(states,),
            attention_mask=mask,
            decoder_input_ids=inputs,
            decoder_attention_mask=hidden.masked_fill(~visible, torch.finfo(states.dtype).min)[
                :, None
            ],
            use_cache=False,
        ).logits
        return self._means(logits, labels, owner, len(questions[0].candidates))

    def _states(self, vectors: Tensor, mask: Tensor) -> Tensor:
        states: Tensor = self.model.get_encoder()(
            inputs_embeds=vectors, attention_mask=mask
        ).last_hidden_state
        return states

    def _written(self, candidates: Sequence[Ids]) -> tuple[Tensor, Tensor, Tensor]:
        """The titles of each question's candidates, one after the other, int64 [B, S].

        Returns:
            Their tokens; what the decoder is given to predict them; and whose tokens they are,
            0..m-1. Where there is nothing, the first and the last are negative.
        """
        rows = [[self.titles.answer(item) for item in items.tolist()] for items in candidates]
        begin = self.model.config.decoder_start_token_id
        tokens = [[token for title in row for token in title] for row in rows]
        before = [[token for title in row for token in (begin, *title[:-1])] for row in rows]
        owners = [[place for place, title in enumerate(row) for _ in title] for row in rows]
        return (
            self._table(tokens, NOTHING),
            self._table(before, begin),
            self._table(owners, NOTHING),
        )
