"""How DELRec's language model is taught: a conventional recommender first, then both stages."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.data.examples import Examples, PreparedData
from bench.files import sha256_of
from bench.plan import seed_of
from bench.teachers.kinds.delrec.adalora import AdaLoRA
from bench.teachers.kinds.delrec.conventional import Conventional, trained_or_kept
from bench.teachers.kinds.delrec.decoder_only import prompted_model
from bench.teachers.kinds.delrec.options import DelrecOptions
from bench.teachers.kinds.delrec.pattern_stage import PatternStage
from bench.teachers.kinds.delrec.questions import Asking
from bench.teachers.kinds.delrec.ranking_stage import RankingStage
from bench.teachers.kinds.delrec.soft_prompts import PromptedModel
from bench.teachers.kinds.delrec.stages import Work, fit
from bench.teachers.kinds.delrec.titles import Titles
from bench.teachers.language.loading import LanguageModel
from bench.teachers.language.titles import titles_of
from bench.teachers.recommenders.members import untrained
from bench.teachers.rows import hold_out
from bench.teachers.texts import with_texts

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Taught:
    """Both models after training.

    Attributes:
        conventional: what the language model learned from.
        prompted: the language model behind its soft prompts.
        asking: makes its questions.
        stories: how it was trained, by stage.
        digest: what tells its parameters from all others.
    """

    conventional: Conventional
    prompted: PromptedModel
    asking: Asking
    stories: dict[str, Any]
    digest: str


def teach(
    options: DelrecOptions,
    language: LanguageModel,
    data: PreparedData,
    folder: Path,
    device: str,
) -> Taught:
    """Train the conventional model, then the soft prompts, then the language model.

    Args:
        options: sizes and schedules.
        language: adapted in place.
        data: the catalogue, and training rows; no others are read.
        folder: keeps what is finished, for a run that goes on where this one was killed.
        device: name of the torch device to compute on.

    Raises:
        BenchError: a loss became NaN or infinite, or no row is long enough.
    """
    rows, held_out = hold_out(data.train, options.held_out, options.seed)
    _logger.info(f"{len(rows)} rows to learn from, {len(held_out)} held out to choose states by")
    conventional = _conventional(options, data, rows, held_out, folder, device)
    known = with_texts(data, options.texts)
    titles = Titles(
        titles_of(known, options.title_end),
        language.tokenizer,
        options.title_tokens,
        ends=language.model.config.is_encoder_decoder,
    )
    asking = Asking(
        titles=titles,
        n_items=data.n_items,
        candidates=options.candidates,
        example_items=options.patterns.example_items,
        asked_items=options.patterns.asked_items,
        recommender=options.recommender.model,
    )
    learned, judged = (
        conventional.listed(some, options.patterns.recommended, asking.shortest_temporal)
        for some in (rows, held_out)
    )
    work = Work(options.batch_size, options.at_once, options.looked_at, options.seed)
    seed = seed_of(options.seed, "soft prompts", "vectors")
    prompted = prompted_model(language, titles, options.soft_prompts, seed)
    first = PatternStage(prompted, asking, learned, judged, options.patterns.alpha, work)
    file = folder / "patterns.pt"
    stories = {first.name: fit(first, options.patterns, file, options.seed)}
    adalora = _adalora(options, language)
    second = RankingStage(
        prompted, adalora, asking, learned, judged, options.ranking.orthogonality, work
    )
    file = folder / "ranking.pt"
    stories[second.name] = fit(second, options.ranking, file, options.seed)
    return Taught(conventional, prompted, asking, stories, sha256_of(file))


def _conventional(
    options: DelrecOptions,
    data: PreparedData,
    rows: Examples,
    held_out: Examples,
    folder: Path,
    device: str,
) -> Conventional:
    ((name, member),) = options.conventional.items()
    assert member.training is not None  # noqa: S101 - validated
    model = untrained(
        name, member.student, member.training, rows, data.n_items, data.n_users, options.seed
    )
    file = folder / "conventional.pt"
    return trained_or_kept(model, rows, held_out, data.n_items, file, device)


def _adalora(options: DelrecOptions, language: LanguageModel) -> AdaLoRA:
    torch.manual_seed(seed_of(options.seed, "AdaLoRA", "parameters"))
    ranking = options.ranking
    return AdaLoRA(
        language.model,
        modules=ranking.modules,
        rank=ranking.rank,
        target_rank=ranking.target_rank,
        alpha=ranking.lora_alpha,
        dropout=ranking.dropout,
        steps=ranking.steps,
    )
