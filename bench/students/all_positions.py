"""Encoders that are read at many positions of a history in one pass.

Of a model that reads from left to right, the state at a position is the encoding of the items up
to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from bench.errors import ConfigError
from bench.students import last_position

Encoder = Callable[[Any, Tensor, Tensor, Tensor | None], Tensor]
"""Of a RecBole model, vectors [W, L', d], places [B] among the W * L' positions and prompts [k, d]
or None, the encoded sequences [B, d] that end there."""


def _gru4rec(model: Any, vectors: Tensor, place: Tensor, prompts: Tensor | None) -> Tensor:
    read = vectors if prompts is None else last_position.prepended(prompts, vectors)
    states, _ = model.gru_layers(model.emb_dropout(read))
    encoded: Tensor = model.dense(states[:, -vectors.size(1) :].flatten(0, 1)[place])
    return encoded


ENCODERS: dict[str, Encoder] = {"SASRec": last_position.sasrec_at, "GRU4Rec": _gru4rec}


def encoder(model: str) -> Encoder:
    """The encoder of a RecBole model.

    Raises:
        ConfigError: its states do not depend on the items before them alone.
    """
    if model not in ENCODERS:
        raise ConfigError(
            f"training.positions: student model {model} is read at the end of a history only, "
            f"which is `last`; {' and '.join(ENCODERS)} are read everywhere"
        )
    return ENCODERS[model]
