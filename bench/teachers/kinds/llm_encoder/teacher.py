"""Teacher kind `llm-encoder`: a causal language model reads whole histories, once each.

The titles of a history are one text; the state where an item ends is what the model knows of the
history up to there, for every row that shares the reading. A small head over the frozen states is
trained by a softmax over the catalogue, as the towers of `text` are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from bench.data.examples import PreparedData
from bench.teachers.kinds.llm_encoder.network import HistoryTowers
from bench.teachers.language.loading import CAUSAL, Dtype, load
from bench.teachers.language.states import HistoryReader, Lines, Pooling, identity_of
from bench.teachers.language.titles import Words, titles_of
from bench.teachers.registry import register_teacher
from bench.teachers.texts import with_texts
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
    ids: bool = Field(False, description="items have a vector of their own beside their text's")
    width: PositiveInt = Field(128, description="size D of the item points and queries")
    feed_forward: PositiveInt = Field(256, description="hidden size of the MLPs")


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
        """The states of the histories of all rows; targets are not read."""
        weights = find(options.model, cache)
        language = load(weights, CAUSAL, device, options.dtype, max(options.layers))
        titles = titles_of(with_texts(data, options.texts), options.title_end)
        lines = Lines.of(titles, options.words, language.tokenizer, options.title_tokens)
        identity = identity_of(language, options.dtype)
        reader = HistoryReader(language, lines, options.shared, identity, cache)
        splits = [data.train, data.valid, data.test]
        return {"states": reader.states(splits, options.layers, options.pooling)}

    @classmethod
    def network(
        cls, texts: Tensor, length: int, options: LlmEncoderOptions, **known: Any
    ) -> HistoryTowers:
        return HistoryTowers(
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
