"""Towers whose queries come from what a language model made of a history."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.errors import BenchError
from bench.teachers.language.passes import factors
from bench.teachers.language.states import HistoryStates
from bench.teachers.towers.tower import Towers


def no_states(width: int) -> HistoryStates:
    """Of no history: for a head whose states of this width are given to it as they are made."""
    return HistoryStates(np.empty(0, np.int64), np.empty((0, width), np.float16))


class HistoryTowers(Towers):
    r"""As `Towers`, with a head over the frozen states of a language model.

    .. math::
        q_r = W_2\, \mathrm{GELU}(W_1\, \mathrm{norm}(h_r)) \;[+\; a_r], \quad
        z_i = f(t_i) \;[+\; e_i]

    h_r: the model's standardised states where the history of row r ends. a_r: the query of
    `Towers`, which attends to the history's points (`stream`). t_i: the item's text vector. e_i: a
    vector of its own, 0 at first (`ids`).

    Args:
        texts: float32 [N, T], the frozen text vectors.
        states: of all histories that are asked about.
        stream: whether the history's points are read as well.
        ids: whether items have vectors of their own beside their texts.
        sizes: arguments of `Towers`.
    """

    keys: Tensor
    states: Tensor
    factors: Tensor

    def __init__(
        self, texts: Tensor, states: HistoryStates, stream: bool, ids: bool, **sizes: Any
    ) -> None:
        super().__init__(texts, **sizes)
        self.register_buffer("keys", torch.from_numpy(states.keys))
        self.register_buffer("states", torch.from_numpy(states.values))
        self.register_buffer("factors", torch.from_numpy(factors(sizes["length"])))
        read, width = states.values.shape[1], sizes["width"]
        self.read = nn.Sequential(
            nn.LayerNorm(read, elementwise_affine=False),
            nn.Linear(read, sizes["feed_forward"]),
            nn.GELU(),
            self.dropout,
            nn.Linear(sizes["feed_forward"], width),
        )
        self.stream = stream
        self.ids = nn.Parameter(torch.zeros(len(texts), width)) if ids else None

    def items(self) -> Tensor:
        points = super().items()
        return points if self.ids is None else points + self.ids

    def queries(self, points: Tensor, history: Tensor, length: Tensor) -> Tensor:
        key = (history * self.factors).sum(1)
        place = torch.searchsorted(self.keys, key).clamp_max(len(self.keys) - 1)
        if not torch.equal(self.keys[place], key):
            raise BenchError("a history is asked about that the language model has not read")
        read: Tensor = self.read(functional.embedding(place, self.states).float())
        return read + super().queries(points, history, length) if self.stream else read
