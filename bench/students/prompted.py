"""Encoders that read vectors in place of items, prompts before them.

GRU4Rec and Caser run RecBole's own forward: `ItemTable` hands vectors through as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from bench.students import last_position

Reader = Callable[[Any, Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""Of a RecBole model, vectors [B, L', d], length [B], its user ids [B] and prompts [k, d] or None,
the encoded sequences [B, d]. What lies at and beyond `length` has no effect."""


def _sasrec(
    model: Any, vectors: Tensor, length: Tensor, user: Tensor, prompts: Tensor | None
) -> Tensor:
    return last_position.sasrec(model, vectors, length, prompts)


def _gru4rec(
    model: Any, vectors: Tensor, length: Tensor, user: Tensor, prompts: Tensor | None
) -> Tensor:
    """The prompts are fed first: they make the state that a history begins with."""
    if prompts is not None:
        vectors, length = last_position.prepended(prompts, vectors), length + len(prompts)
    return model.forward(vectors, length)


def _caser(
    model: Any, vectors: Tensor, length: Tensor, user: Tensor, prompts: Tensor | None
) -> Tensor:
    """The prompts are the first rows of the image, which has one height whatever the history."""
    padding = ~last_position.real(length, vectors.shape[1])
    image = vectors.masked_fill(padding.unsqueeze(2), 0.0)
    if prompts is not None:
        image = last_position.prepended(prompts, image)
    return model.forward(user, F.pad(image, (0, 0, 0, model.max_seq_length - image.shape[1])))


READERS: dict[str, Reader] = {"SASRec": _sasrec, "GRU4Rec": _gru4rec, "Caser": _caser}
FIXED_LENGTH = frozenset({"Caser"})
"""Models that are made for one length: prompts need room in them from the start."""
