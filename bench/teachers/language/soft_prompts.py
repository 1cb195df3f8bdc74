"""A frozen encoder-decoder model behind soft prompts, and how likely it finds candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from bench.errors import ConfigError
from bench.teachers.language.loading import LanguageModel
from bench.teachers.language.questions import Question
from bench.teachers.language.titles import Titles

_IGNORED = -100


class PromptedModel(nn.Module):
    """A language model that reads k learned vectors before every prompt.

    The score of a candidate is the mean log-likelihood of the tokens of its title and of the end
    that follows it. The mean, since titles of one catalogue differ tenfold in length: under the sum
    the shortest would lead whatever the prompt says.

    Args:
        language: an encoder-decoder model.
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

    def scores(self, questions: Sequence[Question]) -> Tensor:
        """Scores float32 [B, m] of the candidates of B questions of m candidates each."""
        states, mask = self._read([question.prompt for question in questions])
        candidates = np.stack([question.candidates for question in questions])
        each = candidates.shape[1]
        titles = [torch.tensor(self.titles.answer(item)) for item in candidates.ravel().tolist()]
        labels = pad_sequence(titles, batch_first=True, padding_value=_IGNORED).to(states.device)
        logits = self.model(
            encoder_outputs=(states.repeat_interleave(each, 0),),
            attention_mask=mask.repeat_interleave(each, 0),
            decoder_input_ids=self.model.prepare_decoder_input_ids_from_labels(labels=labels),
            use_cache=False,
        ).logits
        unlikely = functional.cross_entropy(
            logits.float().transpose(1, 2), labels, ignore_index=_IGNORED, reduction="none"
        )
        return -(unlikely.sum(1) / (labels != _IGNORED).sum(1)).view(candidates.shape)

    def loss(self, questions: Sequence[Question]) -> Tensor:
        """Sum over the questions of the cross-entropy of the answer among the candidates."""
        scores = self.scores(questions)
        answers = torch.tensor([question.answer for question in questions], device=scores.device)
        return functional.cross_entropy(scores, answers, reduction="sum")

    def _read(self, prompts: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
        """States [B, k + T, D] of the encoder and which of them are real, [B, k + T]."""
        batch = self.language.batch(prompts, "right")
        vectors = self.model.get_input_embeddings()(batch["input_ids"])
        soft = self.soft.to(vectors.dtype).expand(len(prompts), -1, -1)
        vectors = torch.cat([soft, vectors], dim=1)
        mask = functional.pad(batch["attention_mask"], (len(self.soft), 0), value=1)
        self._refuse_longer(vectors.shape[1])
        states = self.model.get_encoder()(inputs_embeds=vectors, attention_mask=mask)
        return states.last_hidden_state, mask

    def _refuse_longer(self, length: int) -> None:
        most = getattr(self.model.config, "max_position_embeddings", None)
        if most is not None and length > most:
            raise ConfigError(
                f"language model '{self.language.name}' reads {most} tokens at most, a prompt "
                f"here has {length}; take fewer candidates, or cut titles shorter"
            )
