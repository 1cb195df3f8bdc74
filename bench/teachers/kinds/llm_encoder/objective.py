"""What the reader of histories is tuned for: the next item, at every end of an item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn import functional

from bench.teachers.kinds.llm_encoder.network import HistoryTowers
from bench.teachers.language.loading import LanguageModel
from bench.teachers.language.states import POOLINGS, Pooling, pooled
from bench.teachers.language.tuning import TuningOptions


class ReaderTuningOptions(TuningOptions):
    """How the adapters are tuned, and on what."""

    readings: PositiveInt | None = Field(
        1024, description="sample to learn from, of histories that several rows share; null: all"
    )
    held_out: float = Field(
        0.05, gt=0, lt=0.5, description="share of the training rows that chooses the epoch"
    )
    held_out_readings: PositiveInt | None = Field(
        100, description="sample of the readings of rows held out; null: all"
    )


@dataclass(frozen=True)
class Reading:
    """A history that several rows share.

    Attributes:
        tokens: of the text.
        ends: place of the last token of what each of the rows has seen.
        targets: of the rows, 1..N.
    """

    tokens: list[int]
    ends: list[int]
    targets: list[int]


class NextItem:
    """Cross entropy of the targets over the catalogue.

    Args:
        language: the model; what adapters make of it is what is asked.
        head: new towers, whose head reads the states.
        start: tokens before the first item.
        layers: whose states are read, side by side.
        pooling: of the tokens.
    """

    def __init__(
        self,
        language: LanguageModel,
        head: HistoryTowers,
        start: int,
        layers: Sequence[int],
        pooling: Pooling,
    ) -> None:
        self.head = head
        self._language, self._start = language, start
        self._layers, self._pooling = layers, POOLINGS.index(pooling)

    def loss(self, examples: Sequence[Reading]) -> Tensor:
        """Summed over the rows of the readings."""
        batch = self._language.batch([one.tokens for one in examples], "right")
        states = self._language.model.base_model(
            **batch, use_cache=False, output_hidden_states=True
        ).hidden_states
        read = [
            torch.cat(
                [
                    pooled(states[layer][place], one.ends, self._start)[:, self._pooling]
                    for place, one in enumerate(examples)
                ]
            )
            for layer in self._layers
        ]
        points, queries = self.head.items(), self.head.read(torch.cat(read, dim=1))
        target = torch.tensor(
            [*chain.from_iterable(one.targets for one in examples)], device=points.device
        )
        logits = self.head.logits(points, queries)
        return functional.cross_entropy(logits, target - 1, reduction="sum")

    def count(self, example: Reading) -> int:
        """Rows that share the reading."""
        return len(example.targets)

    def tokens(self, example: Reading) -> int:
        """Tokens of the history."""
        return len(example.tokens)
