"""What a baseline is, how it is registered, and how it ranks targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from bench.data.examples import Examples, Ids, PreparedData, Sequences
from bench.paths import PACKAGE
from bench.registry import SourceEntry, SourceRegistry

if TYPE_CHECKING:
    from typing_extensions import Self

    from bench.evaluation.metrics import TargetRanks

Floats = NDArray[np.float32]

AFFORDABLE = 10**9
"""Scores that are ranked, or pairs of items that are counted, for an entry of a board: some ten
seconds, and a gigabyte or two."""

BLOCK_ROWS, BLOCK_SCORES = 256, 2**25
"""A block of scores has this many rows, or as few as a catalogue of any size leaves room for."""

BASELINES: SourceRegistry[type[Baseline], SourceEntry] = SourceRegistry(
    "baseline",
    SourceEntry,
    "bench.baselines.interface:Baseline",
    "baseline",
    PACKAGE / "baselines",
)

C = TypeVar("C", bound=type)


def register_baseline(name: str, /) -> Callable[[C], C]:
    """Class decorator that gives a `Baseline` its entry on every leaderboard.

    Args:
        name: kebab-case name, written as a literal (it is read without importing the file).
    """
    return lambda cls: cls


class BaselineConfig(BaseModel):
    """Settings of a baseline; their defaults make its entry on leaderboards."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Baseline(ABC):
    """A recommender that is fitted in closed form; its state is what it is from the start.

    One ability is a method that is there: `read_texts` is called before `fit`, with unit vectors of
    the item texts, float32 [N, D]. Such a baseline has an entry where texts were encoded.

    Args:
        config: an instance of `Config`; None for the defaults.
    """

    Config: ClassVar[type[BaselineConfig]] = BaselineConfig

    def __init__(self, config: Any = None) -> None:
        self.config: Any = self.Config() if config is None else config

    @abstractmethod
    def fit(self, examples: Examples, n_items: int) -> Self:
        """Learn from training examples, and from nothing else.

        Args:
            examples: what may be learned from: histories, targets and their users.
            n_items: N, the size of the catalogue.
        """

    @abstractmethod
    def scores(self, history: Ids, length: Ids) -> Floats:
        """Finite scores of all items, higher is better; teachers take them as logits.

        Args:
            history: int32 [B, L], ids 1..N, oldest first, padded with 0 on the right.
            length: int32 [B], 1..L.

        Returns:
            float32 [B, N]; column i - 1 is item i.
        """

    def obstacle(self, data: PreparedData) -> str | None:
        """Why an entry on the leaderboard of `data` would cost too much; None where it does not.

        A baseline that others are read against must not cost what they do.
        """
        scores = (len(data.valid) + len(data.test)) * data.n_items
        return f"it would rank {scores:,} scores" if scores > AFFORDABLE else None

    def ranks(self, examples: Examples, n_items: int) -> Ids:
        """Rank of each example's target over the catalogue; ties count against the target.

        Returns:
            int32 [R], 1..N.
        """
        return self.all_ranks(examples, n_items, None).ranked

    def all_ranks(
        self, examples: Examples, n_items: int, sequences: Sequences | None
    ) -> TargetRanks:
        """Ranks of the targets of R examples under both rules for items seen before.

        Args:
            examples: what is ranked.
            n_items: N.
            sequences: what users had before; None where it is not known.
        """
        import torch

        from bench.evaluation.ranking import RankedBlocks, SeenItems
        from bench.training.rows import DeviceRows

        cpu = torch.device("cpu")
        block = max(1, min(BLOCK_ROWS, BLOCK_SCORES // n_items))
        ranked, rows = RankedBlocks(SeenItems.of(sequences, cpu)), DeviceRows.of(examples, cpu)
        for start in range(0, len(examples), block):
            part = slice(start, start + block)
            scores = self.scores(examples.history[part], examples.length[part])
            ranked.add(torch.from_numpy(scores), rows.at(part))
        return ranked.found()
