"""Teacher kind `bigrec`: a causal language model that writes the title of the next item.

BIGRec (Bao et al., arXiv:2308.08434), the teacher of DLLM2Rec. Low-rank adapters are tuned on a
sample of the training rows, given as instructions; what the tuned model writes for a row is
grounded by the distance of its embedding to those of the catalogue's titles, all of the untuned
model.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from bench.data.examples import Examples, Ids, PreparedData
from bench.evaluation.metrics import metrics_from_ranks
from bench.plan import seed_of
from bench.teachers.builder import Builder, Product
from bench.teachers.kinds.bigrec.generation import (
    Answers,
    GenerationOptions,
    Writer,
    check_installed,
    writer,
)
from bench.teachers.kinds.bigrec.grounding import Catalogue, Popularity, embed
from bench.teachers.kinds.bigrec.instructions import Instructions, tokens_digest
from bench.teachers.kinds.bigrec.objective import Example, NextTitle, TitleTuningOptions
from bench.teachers.language.loading import CAUSAL, Dtype, LanguageModel, load
from bench.teachers.language.resume import folder_of, in_batches, longest_first
from bench.teachers.language.titles import Words, titles_of
from bench.teachers.language.tuning import Adapter, tuned
from bench.teachers.recipe import TEXTS, texts_hash
from bench.teachers.recommenders.members import TOLD
from bench.teachers.registry import register_teacher
from bench.teachers.rows import hold_out, intervals, rows_where, sampled
from bench.teachers.texts import Texts, notes_of, with_texts
from bench.teachers.weights import find

_logger = logging.getLogger(__name__)

Mask = NDArray[np.bool_]

GAMMAS = (0.0, *(step / 100 for step in range(1, 100)), *(float(step) for step in range(1, 100)))
"""Strengths of popularity that are tried: those of BIGRec's program, and none."""
SELECT = "ndcg@20"
TRAIN, HELD_OUT = "training", "held-out"

DISTANCE = "L2 between last hidden states of the last tokens, by the untuned model"
INJECTED = "; scaled to 0..1 in a row, then times (1 + popularity)^-gamma"


class BigRecOptions(BaseModel):
    """Options of the kind `bigrec`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        description="causal language model: a folder, a `.gguf` file, `package:NAME` or a hub name"
    )
    dtype: Dtype = Field("bfloat16", description="of the model's weights")
    words: Words = Field(default_factory=Words, description="what items are called in prompts")
    title_end: str = Field("", description="what follows the title in the items' texts")
    texts: Texts = Field("own", description="`shuffled` is a control: titles of other items")
    prompt_tokens: PositiveInt = Field(
        512, description="of a prompt; a longer one loses its oldest titles"
    )
    tuning: TitleTuningOptions = Field(default_factory=TitleTuningOptions)
    held_out: float = Field(
        0.05, gt=0, lt=0.5, description="share of the training rows that chooses the epoch"
    )
    held_out_rows: PositiveInt | None = Field(
        5000, description="sample of the rows held out; null: all"
    )
    generation: GenerationOptions = Field(default_factory=GenerationOptions)
    rows: PositiveInt | None = Field(
        None, description="sample of the training rows that titles are written for; null: all"
    )
    evaluation_rows: PositiveInt | None = Field(
        None, description="sample of validation and of test rows for its own metrics; null: all"
    )
    popularity: NonNegativeFloat | Literal["held-out"] = Field(
        0.0, description="gamma of the popularity in distances, or chosen on rows held out"
    )
    histories: bool = Field(
        False, description="export the vectors of what was written for the training rows as well"
    )
    list_length: PositiveInt = Field(100, description="K_T, items listed per training row")
    seed: NonNegativeInt = 0


@register_teacher(
    "bigrec",
    signals={"embeddings", "rankings", "confidence", "truth-distance"},
    optional={"histories"},
    needs_language_model=True,
    twins={"shuffled": {"texts": "shuffled"}},
)
class BigRecTeacher(Builder):
    """Builder of the kind `bigrec`."""

    Options: ClassVar[type[BaseModel]] = BigRecOptions

    @staticmethod
    def build(options: BigRecOptions, data: PreparedData, cache: Path, device: str) -> Product:
        """Tune the model, let it write titles for rows, then ground them with the untuned one."""
        check_installed(options.generation)
        titles = titles_of(with_texts(data, options.texts), options.title_end)
        language = load(find(options.model, cache), CAUSAL, device, options.dtype)
        words = Instructions(titles, options.words, language.tokenizer, options.prompt_tokens)
        answers = Answers(titles, words.answers(np.arange(1, len(titles) + 1)))
        author = _Author(language, words, answers, options, cache)

        learn, held_out = hold_out(data.train, options.held_out, options.seed)
        held_out = author.sample(held_out, options.held_out_rows)
        adapter = author.tuned(learn, held_out)
        asked = author.answered(adapter, data, held_out)

        _logger.info(f"reading the {len(set(titles)):,} titles of the catalogue")
        catalogue = Catalogue(titles, data.item_tokens, author.vectors, device)
        gamma, choice = options.popularity, dict[str, Any]()
        if gamma == "held-out":
            gamma, choice = _chosen_gamma(catalogue, learn, asked[HELD_OUT])
        popularity = Popularity(data.target_counts()[1:], gamma)
        train, texts = asked[TRAIN].rows, asked[TRAIN].texts
        written = catalogue.read(texts)
        rankings, distances = catalogue.lists(written, options.list_length, popularity)
        in_top_ten = float((rankings[:, :10] == train.target[:, None]).any(1).mean())
        ranks = {
            split: _ranks(catalogue, asked[split], [popularity])[0] for split in ("valid", "test")
        }
        covered = _chosen(len(data.train), options.rows, options.seed)
        truth = catalogue.distances_to(written, train.target)
        return Product(
            embeddings=catalogue.vectors,
            rankings=_over_all_rows(rankings, covered, np.arange(1, rankings.shape[1] + 1)),
            distances=_over_all_rows(distances, covered, 0),
            truth_distance=_over_all_rows(truth, covered, 0),
            histories=_over_all_rows(written.of_rows(), covered, 0) if options.histories else None,
            covered=None if covered.all() else covered,
            generated=_texts_of_all_rows(texts, covered),
            test_ranks=ranks["test"] if len(ranks["test"]) == len(data.test) else None,
            metrics={split: metrics_from_ranks(found) for split, found in ranks.items()},
            recipe={
                TEXTS: texts_hash(data),
                "model_identity": language.identity,
                "tuning": adapter.course,
                "rows_written_for": len(train),
                "rows_evaluated": {split: len(found) for split, found in ranks.items()},
                "intervals": {
                    split: intervals(found, asked[split].rows, TOLD)
                    for split, found in ranks.items()
                },
                "gamma": gamma,
                **choice,
                "share_of_texts_that_are_titles": round(catalogue.share_of_titles(texts), 4),
                "share_of_training_targets_in_top_10": round(in_top_ten, 4),
                "list_policy": "neither the row's history nor its target is left out",
                "distance": DISTANCE + (INJECTED if gamma else ""),
                "own_ranking": "by distance; items of the target's title count as the target",
            },
            notes=[
                f"The model was tuned on {adapter.course['rows_learned_from']:,} training rows; "
                "their lists are in-sample, those of all other rows are not "
                f"({in_top_ten:.1%} of the targets are in the row's top 10).",
                "It reads item texts, which the student does not, and knows what its language "
                "model was pretrained on.",
                *_notes_of_samples(ranks, data, covered),
                *notes_of(options.texts),
            ],
        )


@dataclass(frozen=True)
class _Asked:
    """Rows, and what the tuned model wrote for each of them."""

    rows: Examples
    texts: list[str]


@dataclass(frozen=True)
class _Author:
    """A language model at its work, and where its results are kept."""

    language: LanguageModel
    words: Instructions
    answers: Answers
    options: BigRecOptions
    cache: Path

    def tuned(self, learn: Examples, held_out: Examples) -> Adapter:
        """Adapters that learned from a sample of rows."""
        options = self.options.tuning
        examples, others = map(self._examples, (self.sample(learn, options.rows), held_out))
        texts = [
            tokens_digest([text for one in part for text in (one.prompt, one.answer)])
            for part in (examples, others)
        ]
        return tuned(
            self.language,
            NextTitle(self.language, options.whole_text),
            examples,
            others,
            options,
            self.options.seed,
            self._inputs() | {"texts": texts},
            self.cache,
        )

    def answered(
        self, adapter: Adapter, data: PreparedData, held_out: Examples
    ) -> dict[str, _Asked]:
        """What the tuned model writes for the rows that are wanted, those of training first."""
        options, language = self.options, self.language
        with writer(language, adapter.folder, options.generation, self.answers) as write:

            def asked(rows: Examples, what: str) -> _Asked:
                return _Asked(rows, self._titles(write, adapter, rows, what))

            found = {TRAIN: asked(self.sample(data.train, options.rows), TRAIN)}
            if options.popularity == HELD_OUT:
                found[HELD_OUT] = asked(held_out, HELD_OUT)
            for split, rows in (("valid", data.valid), ("test", data.test)):
                found[split] = asked(self.sample(rows, options.evaluation_rows), split)
        return found

    def sample(self, rows: Examples, size: int | None) -> Examples:
        """Some of the rows, or all."""
        return rows_where(rows, _chosen(len(rows), size, self.options.seed))

    def _titles(self, write: Writer, adapter: Adapter, rows: Examples, what: str) -> list[str]:
        """What is written for each row; its target is not looked at."""
        prompts = self.words.prompts(rows.history, rows.length)
        options = self.options.generation
        inputs = self._inputs() | {
            "adapter": adapter.identity,
            "generation": options.model_dump(mode="json"),
            "max_new_tokens": self.answers.new_tokens(options),
            "prompts": tokens_digest(prompts),
        }
        if options.decode == "catalogue":
            inputs["answers"] = tokens_digest(self.answers.tokens)
        found = in_batches(
            folder_of(self.cache, "titles", inputs),
            longest_first(
                range(len(prompts)),
                [len(one) for one in prompts],
                options.batch_size,
            ),
            lambda batch: write([prompts[row] for row in batch]),
            f"titles for {what} rows",
        )
        return [found[row] for row in range(len(prompts))]

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of texts, float32 [n, D], by the untuned model."""
        return embed(self.language, texts, self.options.generation.batch_size)

    def _examples(self, rows: Examples) -> list[Example]:
        prompts = self.words.prompts(rows.history, rows.length)
        answers = [self.answers.tokens[item - 1] for item in rows.target.tolist()]
        return [Example(*pair) for pair in zip(prompts, answers, strict=True)]

    def _inputs(self) -> dict[str, Any]:
        """What determines all results, besides what is asked."""
        return {
            "model": self.language.identity,
            "dtype": self.options.dtype,
            "device": self.language.device.type,
            "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
        }


def _chosen_gamma(
    catalogue: Catalogue, learn: Examples, held_out: _Asked
) -> tuple[float, dict[str, Any]]:
    """The strength of popularity that ranks held-out rows best, and how good that is."""
    counts = np.bincount(learn.target, minlength=len(catalogue) + 1)[1:]
    ranks = _ranks(catalogue, held_out, [Popularity(counts, gamma) for gamma in GAMMAS])
    values = [metrics_from_ranks(found)[SELECT] for found in ranks]
    best = int(np.argmax(values))
    compared = {"with": round(values[best], 5), "without": round(values[0], 5)}
    return GAMMAS[best], {f"held_out_{SELECT}_and_popularity": compared}


def _ranks(catalogue: Catalogue, asked: _Asked, popularities: Sequence[Popularity]) -> Ids:
    return catalogue.ranks(catalogue.read(asked.texts), asked.rows.target, popularities)


def _chosen(rows: int, size: int | None, seed: int) -> Mask:
    """See `rows.sampled`; the draw is of its own beside others of the teacher's seed."""
    return sampled(rows, size, seed_of(seed, "rows", "sample"))


def _over_all_rows(found: NDArray[Any], covered: Mask, filler: Any) -> NDArray[Any]:
    """The found rows in their places, filler in the others: [R, ...] of the type of `found`."""
    table = np.empty((len(covered), *found.shape[1:]), dtype=found.dtype)
    table[:] = filler
    table[covered] = found
    return table


def _texts_of_all_rows(texts: Sequence[str], covered: Mask) -> list[str | None]:
    found = iter(texts)
    return [next(found) if one else None for one in covered]


def _notes_of_samples(ranks: Mapping[str, Ids], data: PreparedData, covered: Mask) -> list[str]:
    notes = []
    if not covered.all():
        notes.append(f"It speaks of a sample of {covered.sum():,} of {len(covered):,} rows.")
    fewer = {
        split: (len(found), len(getattr(data, split)))
        for split, found in ranks.items()
        if len(found) < len(getattr(data, split))
    }
    if fewer:
        compared = ", ".join(f"{n:,} of {of:,} {split}" for split, (n, of) in fewer.items())
        notes.append(f"Its own metrics are those of a sample: {compared} rows.")
    return notes
