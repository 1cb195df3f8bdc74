"""Students whose encoder reads vectors in place of items, prompts before them.

`ItemTable` hands vectors through as they are, so that RecBole's own forward can run on them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bench.students.adapter import Adapter
from bench.students.checkpointing import in_parts


class VectorReader(Adapter, ABC):
    """An adapter that encodes sequences of vectors; a model brings `read`."""

    def __init__(self, *arguments: Any, prompt_length: int = 0, **world: Any) -> None:
        super().__init__(*arguments, prompt_length=prompt_length, **world)
        self.prompt_length = prompt_length
        self.prompts: nn.Parameter | None = None
        self._prompting: Callable[[], Tensor] | None = None

    @abstractmethod
    def read(self, vectors: Tensor, length: Tensor, user: Tensor, prompts: Tensor | None) -> Tensor:
        """Encode sequences of vectors.

        Args:
            vectors: float32 [B, L', d]; what lies at and beyond `length` has no effect.
            length: int64 [B], 1..L'.
            user: int64 [B], RecBole's ids.
            prompts: float32 [k, d], read before every sequence.

        Returns:
            float32 [B, d].
        """

    def encode(self, history: Tensor, length: Tensor, user: Tensor | None) -> Tensor:
        """See `Adapter.encode`."""
        return self._read(
            self.items(history), length, self._known(user, length), self.current_prompts()
        )

    def encode_vectors(self, vectors: Tensor, length: Tensor) -> Tensor:
        """Encode sequences of vectors, [B, L', d] and [B] to [B, d], for the padding user."""
        return self._read(vectors, length, torch.zeros_like(length), self.current_prompts())

    def encode_in_parts(self, history: Tensor, length: Tensor, user: Tensor) -> Tensor:
        """What `encode` returns, from less memory and in more time.

        See `bench.students.checkpointing`.
        """
        # Made once: parts are run twice.
        prompts, vectors = self.current_prompts(), self.items(history)

        def encode(vectors: Tensor, length: Tensor, users: Tensor) -> Tensor:
            return self._read(vectors, length, users, prompts)

        return in_parts(encode, vectors, length, self._known(user, length))

    def lookup(self, ids: Tensor) -> Tensor:
        """What the encoder reads for item `ids` [...]: differentiable float32 [..., d]."""
        embeddings: Tensor = self.items(ids)
        return embeddings

    def prompt(self, prompts: Callable[[], Tensor] | None) -> None:
        """See `bench.distillation.PromptedStudent.prompt`."""
        self._prompting = prompts

    def current_prompts(self) -> Tensor | None:
        """What precedes a history now: prompts [k, d]."""
        return self.prompts if self._prompting is None else self._prompting()

    def fold(self) -> None:
        """See `Adapter.fold`."""
        super().fold()
        if self._prompting is not None:
            self.prompts = nn.Parameter(self._prompting().detach().clone())
            self._prompting = None

    def export_state(self) -> dict[str, Tensor]:
        """See `Adapter.export_state`; prompts are one more tensor, `prompts` [k, d]."""
        state = super().export_state()
        return state if self.prompts is None else {**state, "prompts": self.prompts.detach()}

    def import_state(self, state: dict[str, Tensor]) -> None:
        """See `Adapter.import_state`."""
        state = dict(state)
        if "prompts" in state:
            self.prompts = nn.Parameter(state.pop("prompts").clone())
        super().import_state(state)

    def _read(
        self, vectors: Tensor, length: Tensor, user: Tensor, prompts: Tensor | None
    ) -> Tensor:
        return self.items.hidden(self.read(vectors, length, user, prompts))


def prepended(prompts: Tensor, vectors: Tensor) -> Tensor:
    """Prompts [k, d] before each of B sequences [B, L', d]: [B, k + L', d]."""
    return torch.cat([prompts.expand(len(vectors), -1, -1), vectors], dim=1)


def real(length: Tensor, size: int) -> Tensor:
    """Where sequences of `length` [B] have an item: bool [B, size], False at padding."""
    return torch.arange(size, device=length.device) < length.unsqueeze(1)
