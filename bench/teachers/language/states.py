"""A language model's states where the items of histories end, computed once and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.examples import Examples
from bench.data.fingerprints import digest
from bench.errors import BenchError
from bench.files import write_whole
from bench.progress import track
from bench.teachers.language.loading import LanguageModel
from bench.teachers.language.passes import Pass, keys_of, passes
from bench.teachers.language.resume import folder_of, longest_first
from bench.teachers.language.titles import Words

Pooling = Literal["end", "mean"]
POOLINGS: tuple[Pooling, ...] = ("end", "mean")
"""The state of an item's last token, and the mean of those of all tokens since the first item."""

BATCH_SIZE, BLOCK = 32, 512
"""Passes that are read at a time, and those whose states are kept in one file."""

HEAD = "Each {item} that a user has {done}, one a line, in this order:\n"


@dataclass(frozen=True)
class Lines:
    """Histories as texts: a line that says what they are, and a title a line.

    Attributes:
        head: tokens of the first line.
        items: those of the line of every item, item i at `items[i - 1]`.
    """

    head: list[int]
    items: list[list[int]]

    @classmethod
    def of(cls, titles: Sequence[str], words: Words, tokenizer: Any, longest: int) -> Lines:
        """The lines of a catalogue; a title of more than `longest` tokens is cut."""
        head = tokenizer(HEAD.format(**words.model_dump()))["input_ids"]
        (end,) = tokenizer(["\n"], add_special_tokens=False)["input_ids"]
        cut = tokenizer(list(titles), add_special_tokens=False, truncation=True, max_length=longest)
        # An end of line that the tokenizer does not know leaves the title's own last token.
        return cls(list(head), [[*one, *end] or head[-1:] for one in cut["input_ids"]])

    def read(self, items: Sequence[int]) -> tuple[list[int], list[int]]:
        """The tokens of a history, and the place of the last one of each of its items."""
        tokens, ends = list(self.head), []
        for item in items:
            tokens += self.items[item - 1]
            ends.append(len(tokens) - 1)
        return tokens, ends


@dataclass(frozen=True)
class HistoryStates:
    """What a language model makes of histories.

    Attributes:
        keys: int64 [H], ascending, one for every different history (`passes.keys_of`).
        values: float16 [H, D].
    """

    keys: NDArray[np.int64]
    values: NDArray[np.float16]

    def standardised(self, history: NDArray[np.int32]) -> HistoryStates:
        """The same, every coordinate with mean 0 and deviation 1 over some histories, [R, L].

        A few coordinates of a language model's states are far larger than all others together,
        and the same for every text.
        """
        known = self.values[np.isin(self.keys, keys_of(history))].astype(np.float32)
        mean, deviation = known.mean(axis=0), known.std(axis=0)
        values = (self.values - mean) / np.where(deviation > 0, deviation, 1)
        return HistoryStates(self.keys, values.astype(np.float16))


class HistoryReader:
    """A causal language model that reads histories, and where its states are kept.

    Args:
        language: the model; of its layers none above those that are asked for is needed.
        lines: histories as texts.
        shared: see `passes.passes`.
        inputs: what determines the states beside these, as JSON values.
        cache: folder of what is costly and can be computed again.
    """

    def __init__(
        self,
        language: LanguageModel,
        lines: Lines,
        shared: int,
        inputs: dict[str, Any],
        cache: Path,
    ) -> None:
        self._language, self._lines, self._shared = language, lines, shared
        self._inputs, self._cache = inputs, cache

    def states(
        self, splits: Sequence[Examples], layers: Sequence[int], pooling: Pooling
    ) -> HistoryStates:
        """The states of the rows' histories, those of several layers side by side.

        Args:
            splits: rows; of histories that occur several times the first one counts.
            layers: counted from 1; 0 are the tokens' own embeddings.
            pooling: of the tokens.
        """
        values = [self._of_rows(rows, layers, POOLINGS.index(pooling)) for rows in splits]
        keys = np.concatenate([keys_of(rows.history) for rows in splits])
        keys, first = np.unique(keys, return_index=True)
        return HistoryStates(keys, np.concatenate(values)[first])

    def _of_rows(self, rows: Examples, layers: Sequence[int], pooling: int) -> NDArray[np.float16]:
        """Float16 [R, layers * width]; what is not kept is computed, block by block."""
        blocks = self._blocks(passes(rows, self._shared))
        told = [np.array([row for one in block for row in one.rows]) for block in blocks]
        folder = folder_of(self._cache, "states", self._inputs | {"rows": self._digest(blocks)})
        files = [
            {layer: folder / f"layer-{layer}-{place:04}.npy" for layer in layers}
            for place in range(len(blocks))
        ]
        missing = [
            {layer: file for layer, file in some.items() if not file.is_file()} for some in files
        ]
        left = sum(len(block) for block, some in zip(blocks, missing, strict=True) if some)
        if left:
            with track("histories read", left, "passes") as advance:
                for block, some in zip(blocks, missing, strict=True):
                    if some:
                        self._compute(block, some, advance)
        width = self._language.model.config.hidden_size
        values = np.empty((len(rows), len(layers), width), dtype=np.float16)
        for some, places in zip(files, told, strict=True):
            for number, file in enumerate(some.values()):
                values[places, number] = np.load(file, allow_pickle=False)[:, pooling]
        return values.reshape(len(rows), -1)

    def _blocks(self, found: Sequence[Pass]) -> list[list[Pass]]:
        """Passes of like length, those of a file together."""
        lengths = [len(self._lines.read(one.items)[0]) for one in found]
        places = longest_first(range(len(found)), lengths, BLOCK)
        return [[found[place] for place in block] for block in places]

    @torch.no_grad()
    def _compute(self, block: Sequence[Pass], files: dict[int, Path], advance: Any) -> None:
        """Write the states of a block's rows in some layers, [rows, poolings, width] each."""
        found: dict[int, list[Tensor]] = {layer: [] for layer in files}
        for start in range(0, len(block), BATCH_SIZE):
            some = block[start : start + BATCH_SIZE]
            texts = [self._lines.read(one.items) for one in some]
            batch = self._language.batch([tokens for tokens, _ in texts], "right")
            states = self._language.model.base_model(
                **batch, use_cache=False, output_hidden_states=True
            ).hidden_states
            for layer, parts in found.items():
                for place, (one, (_, ends)) in enumerate(zip(some, texts, strict=True)):
                    ends = [ends[seen - 1] for seen in one.seen]
                    found_there = pooled(states[layer][place], ends, len(self._lines.head))
                    parts.append(found_there.cpu())
            advance(len(some))
        for layer, file in files.items():
            values = torch.cat(found[layer]).half().numpy()
            if not np.isfinite(values).all():
                raise BenchError(
                    f"language model '{self._language.name}': a state of layer {layer} is NaN or "
                    "too large for 16 bits; take another layer or 'dtype'"
                )
            write_whole(file, lambda stream, values=values: np.save(stream, values))  # type: ignore[misc]

    def _digest(self, blocks: Sequence[Sequence[Pass]]) -> str:
        read = [self._lines.read(one.items)[0] for block in blocks for one in block]
        rows = [[*one.rows, *one.seen] for block in blocks for one in block]
        arrays = (
            np.array([token for one in many for token in one], dtype=np.int64)
            for many in (read, rows, [[len(one)] for one in (*read, *rows)])
        )
        return digest(*arrays)


def pooled(states: Tensor, ends: Sequence[int], start: int) -> Tensor:
    """States of one reading, pooled in each way up to several places: float32 [n, poolings, width].

    Args:
        states: [tokens, width].
        ends: the n places.
        start: place of the first token of the first item.
    """
    sums = states[start:].float().cumsum(0)
    place = torch.tensor(ends, device=states.device)
    mean = sums[place - start] / (place - start + 1)[:, None]
    return torch.stack([states[place].float(), mean], dim=1)


def identity_of(language: LanguageModel, dtype: str) -> dict[str, Any]:
    """What determines a model's states beside what it reads."""
    return {
        "model": language.identity,
        "dtype": dtype,
        "device": language.device.type,
        "versions": {name: version(name) for name in ("torch", "transformers")},
    }
