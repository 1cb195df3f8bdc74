"""A frozen encoder-decoder model behind soft prompts, and how likely it finds candidates."""

from __future__ import annotations

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

_NOTHING = -100


class PromptedModel(nn.Module):
    """A language model that reads k learned vectors before every prompt.

    The score of a candidate is the mean log-likelihood of the tokens of its title and of the end
    that follows it. The mean, since titles differ much in length (nine of ten in Amazon's games
    have 2 to 16 words): under the sum the shortest would lead whatever the prompt says.

    The titles of all candidates are written behind one another in one pass, each hidden from the
    others. That is the same as a pass for each where positions count as distances alone, and the
    prompt's states are there once instead of m times.

    Args:
        language: an encoder-decoder model with relative positions, such as T5.
        titles: of the catalogue.
        vectors: k; they begin as the vectors of k tokens drawn at random (Lester et al., 2021).
        seed: of the draw.

    Raises:
        ConfigError: the model's positions are not relative.

    Attributes:
        soft: float32 [k, D], the vectors.
        model: the model of transformers.
    """

    def __init__(self, language: LanguageModel, titles: Titles, vectors: int, seed: int) -> None:
        super().__init__()
        if not hasattr(language.model.config, "relative_attention_num_buckets"):
            raise ConfigError(
                f"language model '{language.name}' ({language.model.config.model_type}): candidates"
                " are scored by models with relative positions, as those of the T5 family"
            )
        self.language, self.titles = language, titles
        self.model = language.model
        table = self.model.get_input_embeddings().weight
        drawn = torch.randint(len(table), (vectors,), generator=torch.Generator().manual_seed(seed))
        self.soft = nn.Parameter(table.detach()[drawn.to(table.device)].float())

    def scores(self, questions: Sequence[Question]) -> Tensor:
        """Scores float32 [B, m] of the candidates of B questions of m candidates each."""
        states, mask = self._read([question.prompt for question in questions])
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
        unlikely = functional.cross_entropy(
            logits.float().transpose(1, 2), labels, ignore_index=_NOTHING, reduction="none"
        )
        each = torch.arange(len(questions[0].candidates), device=owner.device)
        own = (owner[:, None, :] == each[:, None]).float()
        return -(own @ unlikely[:, :, None]).squeeze(2) / own.sum(2)

    def loss(self, questions: Sequence[Question]) -> Tensor:
        """Sum over the questions of the cross-entropy of the answer among the candidates."""
        scores = self.scores(questions)
        answers = torch.tensor([question.answer for question in questions], device=scores.device)
        return functional.cross_entropy(scores, answers, reduction="sum")

    @torch.no_grad()
    def title_vectors(self, at_once: int) -> NDArray[np.float32]:
        """Mean of the encoder's states of each title's tokens, behind the soft prompts.

        Args:
            at_once: titles that are computed at a time.

        Returns:
            float32 [N, D], row i - 1 is item i.
        """
        self.eval()
        k, found = len(self.soft), []
        for items in torch.arange(1, len(self.titles) + 1).split(at_once):
            states, mask = self._read([self.titles.answer(item) for item in items.tolist()])
            real = mask[:, k:, None].float()
            found.append(((states[:, k:].float() * real).sum(1) / real.sum(1)).cpu())
        return torch.cat(found).numpy()

    def _read(self, prompts: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
        """States [B, k + T, D] of the encoder and which of them are real, [B, k + T]."""
        batch = self.language.batch(prompts, "right")
        vectors = self.model.get_input_embeddings()(batch["input_ids"])
        soft = self.soft.to(vectors.dtype).expand(len(prompts), -1, -1)
        vectors = torch.cat([soft, vectors], dim=1)
        mask = functional.pad(batch["attention_mask"], (len(self.soft), 0), value=1)
        states = self.model.get_encoder()(inputs_embeds=vectors, attention_mask=mask)
        return states.last_hidden_state, mask

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

        def table(lists: list[list[int]], filler: int) -> Tensor:
            tensors = [torch.tensor(one) for one in lists]
            return pad_sequence(tensors, batch_first=True, padding_value=filler).to(
                self.soft.device
            )

        return table(tokens, _NOTHING), table(before, begin), table(owners, _NOTHING)
