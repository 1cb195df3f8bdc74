"""Teacher kind `llm-encoder`: a causal language model reads whole histories, once each.

The titles of a history are one text; the state where an item ends is what the model knows of the
history up to there, for every row that shares the reading. A small head over the states is trained
by a softmax over the catalogue, as the towers of `text` are. Before that, low-rank adapters of the
model may be tuned for the same, with a head that is then forgotten.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from bench.data.examples import Examples, PreparedData
from bench.plan import digest, seed_of
from bench.teachers.kinds.llm_encoder.network import HistoryTowers, no_states
from bench.teachers.kinds.llm_encoder.objective import NextItem, ReaderTuningOptions, Reading
from bench.teachers.language.loading import CAUSAL, Dtype, LanguageModel, load
from bench.teachers.language.passes import passes
from bench.teachers.language.states import HistoryReader, Lines, Pooling, identity_of
from bench.teachers.language.titles import Words, titles_of
from bench.teachers.language.tuning import Adapter, tuned, with_adapter
from bench.teachers.registry import register_teacher
from bench.teachers.rows import hold_out, sampled
from bench.teachers.texts import text_vectors, with_texts
from bench.teachers.towers.tower_teacher import TowerOptions, TowerTeacher
from bench.teachers.weights import find


class LlmEncoderOptions(TowerOptions):
    """Options of the kind `llm-encoder`."""

    model: str = Field(
        description="causal language model that reads the histories: a folder, a `.gguf` file, "
        "`package:NAME` or a hub name"
    )
    dtype: Dtype = Field("bfloat16", description="of the model's weights")
    words: Words = Field(default_factory=Words, description="what items are called in histories")
    title_end: str = Field("", description="what follows the title in the items' texts")
    title_tokens: PositiveInt = Field(32, description="of a title; a longer one is cut")
    shared: PositiveInt = Field(
        10, description="rows that a reading serves, at most; fewer show each more of its history"
    )
    layers: tuple[NonNegativeInt, ...] = Field(
        min_length=1, description="whose states are read, side by side, counted from 1"
    )
    pooling: Pooling = Field(
        "end", description="the state of an item's last token, or the `mean` of all up to it"
    )
    stream: bool = Field(
        False, description="queries attend to the history's item points as well, as in `text`"
    )
    tuning: ReaderTuningOptions | None = Field(
        None, description="of low-rank adapters before the states are read; null: none"
    )
    ids: bool = Field(False, description="items have a vector of their own beside their text's")
    width: PositiveInt = Field(128, description="size D of the item points and queries")
    feed_forward: PositiveInt = Field(256, description="hidden size of the MLPs")

    @property
    def notes(self) -> list[str]:
        """What a reader of a leaderboard must know."""
        return [
            *super().notes,
            "Its language model knows what it was pretrained on.",
            *(
                ["Its language model was tuned on training rows, of which its lists speak."]
                if self.tuning
                else []
            ),
        ]


@register_teacher(
    "llm-encoder",
    signals={"embeddings", "rankings", "confidence", "truth-distance"},
    optional={"histories"},
    needs_language_model=True,
    twins={"shuffled": {"texts": "shuffled"}},
)
class LlmEncoderTeacher(TowerTeacher):
    """Builder of the kind `llm-encoder`."""

    Options = LlmEncoderOptions

    @classmethod
    def known(
        cls, options: LlmEncoderOptions, data: PreparedData, cache: Path, device: str
    ) -> dict[str, Any]:
        """The states of the histories of all rows, and how they came about.

        Targets are read of training rows alone, and only where adapters are tuned.
        """
        weights = find(options.model, cache)
        language = load(weights, CAUSAL, device, options.dtype, max(options.layers))
        titles = titles_of(with_texts(data, options.texts), options.title_end)
        lines = Lines.of(titles, options.words, language.tokenizer, options.title_tokens)
        identity = identity_of(language, options.dtype)
        splits = [data.train, data.valid, data.test]
        with contextlib.ExitStack() as stack:
            origin: dict[str, Any] = {"model_identity": language.identity}
            if options.tuning is not None:
                texts = torch.from_numpy(text_vectors(data, options, cache, device))
                adapter = _tuned(language, lines, texts, data.train, options, identity, cache)
                stack.enter_context(with_adapter(language, adapter.folder))
                identity = identity | {"adapter": adapter.identity}
                origin["tuning"] = adapter.course
            reader = HistoryReader(language, lines, options.shared, identity, cache)
            states = reader.states(splits, options.layers, options.pooling)
        return {"states": states.standardised(data.train.history), "origin": origin}

    @classmethod
    def network(
        cls, texts: Tensor, length: int, options: LlmEncoderOptions, **known: Any
    ) -> HistoryTowers:
        towers = HistoryTowers(
            texts,
            known["states"],
            stream=options.stream,
            ids=options.ids,
            length=length,
            width=options.width,
            heads=options.heads,
            feed_forward=options.feed_forward,
            dropout=options.dropout,
        )
        towers.origin = known["origin"]
        return towers


def _tuned(
    language: LanguageModel,
    lines: Lines,
    texts: Tensor,
    train: Examples,
    options: LlmEncoderOptions,
    identity: dict[str, Any],
    cache: Path,
) -> Adapter:
    """Adapters that learned from readings of training rows, the last ones of users held out."""
    tuning = options.tuning
    assert tuning is not None  # noqa: S101 - whoever asks has looked
    learn, held_out = hold_out(train, tuning.held_out, options.seed)
    examples = _readings(lines, learn, options.shared, tuning.readings, options.seed)
    others = _readings(lines, held_out, options.shared, tuning.held_out_readings, options.seed)
    width = len(options.layers) * language.model.config.hidden_size
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(options.seed, "head", "initial values"))
        plain = options.model_copy(update={"stream": False, "ids": False, "dropout": 0.0})
        head = LlmEncoderTeacher.network(
            texts, train.history.shape[1], plain, states=no_states(width), origin={}
        ).to(language.device)
    objective = NextItem(language, head, len(lines.head), options.layers, options.pooling)
    inputs = identity | {
        "readings": digest([dataclasses.asdict(one) for one in (*examples, *others)]),
        "texts": hashlib.sha256(texts.numpy().tobytes()).hexdigest(),
        "head": [options.width, options.feed_forward],
        "layers": options.layers,
        "pooling": options.pooling,
    }
    return tuned(language, objective, examples, others, tuning, options.seed, inputs, cache)


def _readings(
    lines: Lines, rows: Examples, shared: int, size: int | None, seed: int
) -> list[Reading]:
    """Readings of rows, or a sample of them."""
    found = passes(rows, shared)
    chosen = sampled(len(found), size, seed_of(seed, "readings", "sample"))
    readings = []
    for one in (one for one, wanted in zip(found, chosen, strict=True) if wanted):
        tokens, ends = lines.read(one.items)
        targets = rows.target[list(one.rows)].tolist()
        readings.append(Reading(tokens, [ends[seen - 1] for seen in one.seen], targets))
    return readings
