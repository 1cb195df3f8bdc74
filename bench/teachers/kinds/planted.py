"""Teacher kind `planted`: the truth behind a synthetic dataset, with as much noise as wanted.

    scores = signal * z(log P(item | state)) + (1 - signal) * noise

for every row, with z the standardisation of the row over the catalogue and standard normal noise;
item embeddings are the latent vectors, mixed with noise in the same way. The generator is run again
from the dataset's configuration: no target is read but those of the training rows, to make sure
that the rows are its own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from bench.data.config import dataset_config
from bench.data.examples import Examples, PreparedData
from bench.data.sources.synthetic import World
from bench.data.sources.synthetic_config import GENERATOR, SyntheticConfig
from bench.errors import ConfigError, DataError
from bench.evaluation.metrics import TargetRanks, split_metrics
from bench.evaluation.ranking import RankedBlocks, SeenItems
from bench.paths import Workspace
from bench.teachers.builder import Builder, Product
from bench.teachers.registry import register_teacher
from bench.teachers.rows import list_length
from bench.training.rows import DeviceRows

_logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]

BLOCK_SCORES = 1 << 22
"""Scores that are computed at a time."""

_EMBEDDINGS, _TRAIN, _VALID, _TEST = range(4)
"""Streams of noise."""


class PlantedOptions(BaseModel):
    """Options of the kind `planted`; the last two are taken from the dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    signal: float = Field(0.5, ge=0, le=1, description="1 is the truth, 0 nothing but noise")
    list_length: PositiveInt = Field(100, description="K_T, items of a list")
    seed: NonNegativeInt = Field(0, description="of the noise")
    world: SyntheticConfig = Field(description="what the dataset was drawn from")
    generator: int = Field(GENERATOR, description="version of the generator")


@register_teacher("planted", signals={"embeddings", "rankings", "confidence"}, synthetic_only=True)
class PlantedTeacher(Builder):
    """Builder of the kind `planted`."""

    Options: ClassVar[type[BaseModel]] = PlantedOptions

    @staticmethod
    def complete(options: dict[str, Any], dataset: str, workspace: Workspace) -> dict[str, Any]:
        """The options with what the dataset's configuration says of its world.

        Raises:
            ConfigError: the dataset is not synthetic.
        """
        world = dataset_config(dataset, workspace).synthetic
        if world is None:
            raise ConfigError(
                f"teacher kind 'planted' knows the truth behind synthetic datasets only, and "
                f"'{dataset}' is none of them"
            )
        return {**options, "world": world.model_dump(), "generator": GENERATOR}

    @staticmethod
    def build(
        options: PlantedOptions,
        data: PreparedData,
        cache: Path,
        device: str,
    ) -> Product:
        """Draw the world again and say what it knows about each row.

        Raises:
            DataError: the rows are not those that the world was the origin of.
        """
        world = World(options.world)
        train, valid, test = states(world, data)
        _logger.info(f"ranking {len(train) + len(valid) + len(test):,} rows")
        scores = _Scores(world, options)
        rankings, distances = scores.lists(train, data.train, _TRAIN)
        seen = SeenItems.of(data.sequences, torch.device("cpu"))
        valid_ranks = scores.ranks(valid, data.valid, _VALID, seen)
        test_ranks = scores.ranks(test, data.test, _TEST, seen)
        return Product(
            embeddings=embeddings(world, options),
            rankings=rankings,
            distances=distances,
            test_ranks=test_ranks.ranked,
            masked_test_ranks=test_ranks.masked,
            metrics=split_metrics(valid=valid_ranks, test=test_ranks),
            recipe={
                "list_policy": "the row's history is left out, its target is not",
                "distance": "what an item's score lacks to the largest score of all rows",
            },
            notes=[
                "Synthetic: it knows the user's true interest at every row, which no history "
                f"tells in full; signal {options.signal:g} of 1, the rest is noise."
            ],
        )


def states(world: World, data: PreparedData) -> tuple[Floats, Floats, Floats]:
    """What the items of the train, valid and test rows were drawn from: float64 [R, d] each.

    Raises:
        DataError: the training rows are not those of the world.
    """
    tables = (data.train, data.valid, data.test)
    lengths = world.lengths()
    place = np.cumsum(lengths) - lengths
    if len(data.user_tokens) != len(lengths) or data.n_items != len(world.vectors):
        raise _other_origin(data)
    if any((rows.ordinal >= lengths[rows.user]).any() for rows in tables):
        raise _other_origin(data)
    wanted = [place[rows.user] + rows.ordinal for rows in tables]
    found = [np.empty((len(rows), world.vectors.shape[1])) for rows in tables]
    start = 0
    for block in world.blocks():
        for rows, index, state in zip(tables, wanted, found, strict=True):
            here = np.flatnonzero((index >= start) & (index < start + len(block.user)))
            state[here] = block.state[index[here] - start]
            if (
                rows is data.train
                and (block.item[index[here] - start] + 1 != rows.target[here]).any()
            ):
                raise _other_origin(data)
        start += len(block.user)
    return found[0], found[1], found[2]


def embeddings(world: World, options: PlantedOptions) -> NDArray[np.float32]:
    """The latent vectors in units of their RMS coordinate, mixed with noise: float32 [N, d]."""
    truth = world.vectors / np.sqrt((world.vectors**2).mean())
    noise = _noise(options, _EMBEDDINGS).standard_normal(truth.shape)
    return (options.signal * truth + (1 - options.signal) * noise).astype(np.float32)


class _Scores:
    """Scores of the catalogue, block of rows by block of rows."""

    def __init__(self, world: World, options: PlantedOptions) -> None:
        self.world = world
        self.options = options

    def blocks(self, states: Floats, stream: int) -> Iterator[tuple[slice, Floats]]:
        """Slices of rows and their scores [B, N]."""
        random, signal = _noise(self.options, stream), self.options.signal
        size = max(1, BLOCK_SCORES // len(self.world.vectors))
        for start in range(0, len(states), size):
            part = slice(start, start + size)
            truth = self.world.log_probabilities(states[part])
            truth -= truth.mean(axis=1, keepdims=True)
            truth /= truth.std(axis=1, keepdims=True)
            yield part, signal * truth + (1 - signal) * random.standard_normal(truth.shape)

    def ranks(
        self, states: Floats, rows: Examples, stream: int, seen: SeenItems | None = None
    ) -> TargetRanks:
        """Ranks of the rows' targets; `seen` is what users had before, where it is known."""
        ranked, table = RankedBlocks(seen), DeviceRows.of(rows, torch.device("cpu"))
        for part, scores in self.blocks(states, stream):
            ranked.add(torch.from_numpy(scores), table.at(part))
        return ranked.found()

    def lists(
        self, states: Floats, rows: Examples, stream: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The best items of each row, its history left out (but never its target).

        Returns:
            Ids 1..N int32 [R, K_T], best first, and their distances float32 [R, K_T].
        """
        items = len(self.world.vectors)
        size = list_length(rows, items, self.options.list_length)
        ids = np.empty((len(rows), size), dtype=np.int32)
        best = np.empty((len(rows), size))
        for part, scores in self.blocks(states, stream):
            # Column 0 stands for the padding of histories.
            scores = np.concatenate([np.full((len(scores), 1), -np.inf), scores], axis=1)
            history = rows.history[part]
            seen = np.where(history == rows.target[part, None], 0, history)
            left = scores.copy()
            np.put_along_axis(left, seen, -np.inf, axis=1)
            scores = np.where(np.isneginf(left).all(axis=1, keepdims=True), scores, left)
            top = np.argpartition(-scores, size - 1, axis=1)[:, :size]
            value = np.take_along_axis(scores, top, axis=1)
            order = np.argsort(-value, axis=1, kind="stable")
            ids[part] = np.take_along_axis(top, order, axis=1)
            best[part] = np.take_along_axis(value, order, axis=1)
        return ids, (best.max() - best).astype(np.float32)


def _noise(options: PlantedOptions, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([options.seed, stream]))


def _other_origin(data: PreparedData) -> DataError:
    return DataError(
        f"the rows of '{data.dataset}' are not those that its configuration draws, so nobody knows "
        "the truth behind them: remove filters and imported interactions of this dataset"
    )
