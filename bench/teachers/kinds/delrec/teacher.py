"""Teacher kind `delrec`: a language model that was taught how a conventional recommender thinks.

DELRec (2024) in its own direction. Stage 1 distils the behaviour of a conventional recommender into
soft prompts before a frozen language model; stage 2 freezes them and fine-tunes the
model by AdaLoRA to name the next item among candidates. What departs from the paper is told in
docs/language-teachers.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel

from bench.data.examples import Examples, Ids, PreparedData
from bench.data.fingerprints import digest
from bench.evaluation.metrics import metrics_from_ranks
from bench.paths import Workspace
from bench.teachers.builder import Builder, Product
from bench.teachers.kinds.delrec.options import LISTING, DelrecOptions
from bench.teachers.kinds.delrec.reranking import (
    Scores,
    candidate_scores,
    reranked,
    target_ranks_of,
)
from bench.teachers.kinds.delrec.teaching import Taught, teach
from bench.teachers.kinds.ensemble import EnsembleTeacher
from bench.teachers.language.loading import CAUSAL, ENCODER_DECODER, load, peft_package
from bench.teachers.language.resume import folder_of
from bench.teachers.recipe import TEXTS, texts_hash
from bench.teachers.recommenders.members import TOLD
from bench.teachers.registry import register_teacher
from bench.teachers.rows import intervals, rows_where, sampled
from bench.teachers.texts import notes_of
from bench.teachers.weights import find


@register_teacher(
    "delrec",
    signals={"embeddings", "rankings", "confidence"},
    needs_language_model=True,
    twins={"shuffled": {"texts": "shuffled"}},
)
class DelrecTeacher(Builder):
    """Builder of the kind `delrec`."""

    Options: ClassVar[type[BaseModel]] = DelrecOptions

    @staticmethod
    def complete(options: dict[str, Any], dataset: str, workspace: Workspace) -> dict[str, Any]:
        """The conventional model is the student of its name, SASRec if none is named."""
        members = {"members": options.get("conventional", {"sasrec": {}})}
        members = EnsembleTeacher.complete(members, dataset, workspace)
        return options | {"conventional": members["members"]}

    @staticmethod
    def build(options: DelrecOptions, data: PreparedData, cache: Path, device: str) -> Product:
        """Train both models on the training rows, then list items for rows and rank the others."""
        peft_package()  # whatever is missing is told before anything is computed
        with torch.random.fork_rng():
            language = load(
                find(options.model, cache), (ENCODER_DECODER, CAUSAL), device, options.dtype
            )
            inputs = {
                "options": options.model_dump(mode="json", exclude={"model", *LISTING}),
                "language_model": language.identity,
                "device": language.device.type,
                "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
                "data": data.fingerprint,
                TEXTS: texts_hash(data),
            }
            folder = folder_of(cache, "delrec", inputs)
            taught = teach(options, language, data, folder, device)
        inputs |= {"trained": taught.digest}
        reranker = _Reranker(options, taught, cache, inputs)
        covered = sampled(len(data.train), options.rows, options.seed)
        rankings, distances = reranker.lists(data.train, covered)
        splits = {"valid": data.valid, "test": data.test}
        judged = {split: reranker.sample(rows) for split, rows in splits.items()}
        ranks = {split: reranker.ranks(rows, split) for split, rows in judged.items()}
        in_top_ten = (rankings[:, :10] == data.train.target[:, None]).any(1)[covered].mean()
        recommender = taught.asking.recommender
        return Product(
            embeddings=taught.prompted.title_vectors(options.candidates * options.at_once),
            metrics={split: metrics_from_ranks(own) for split, (own, _) in ranks.items()},
            test_ranks=ranks["test"][0] if len(ranks["test"][0]) == len(data.test) else None,
            recipe={
                TEXTS: inputs[TEXTS],
                "language_model": language.identity,
                "intervals": {
                    split: intervals(own, judged[split], TOLD) for split, (own, _) in ranks.items()
                },
                "stages": taught.stories,
                "conventional": taught.conventional.member.story
                | {
                    "metrics": {
                        split: {name: metrics_from_ranks(theirs)[name] for name in TOLD}
                        for split, (_, theirs) in ranks.items()
                    }
                },
                "own_ranking": f"the {options.list_candidates} items that {recommender} ranks "
                f"highest, ordered by the language model; below them the order of {recommender}",
                "list_policy": "the row's history is left out, its target is not",
                "embeddings": "mean of the tuned model's states of a title's tokens",
                "distance": "mean negative log-likelihood of the tokens of an item's title",
                "share_of_training_targets_in_top_10": round(float(in_top_ten), 4),
            },
            rankings=rankings,
            distances=distances,
            covered=None if covered.all() else covered,
            notes=[
                f"It orders the {options.list_candidates} items that {recommender} ranks highest; "
                "what that one does not find, it cannot find.",
                "The lists are in-sample: both models were trained on the targets of the rows they "
                f"speak of ({in_top_ten:.1%} of these targets are in the row's top 10).",
                "It reads item texts, which the student does not.",
                *notes_of(options.texts),
                *(
                    f"Its {split} metrics are of {len(ranks[split][0])} of {len(rows)} rows, drawn "
                    "at random."
                    for split, rows in splits.items()
                    if len(ranks[split][0]) < len(rows)
                ),
            ],
        )


@dataclass(frozen=True)
class _Reranker:
    """Orders what the conventional model ranks highest; what is finished survives the process."""

    options: DelrecOptions
    taught: Taught
    cache: Path
    inputs: dict[str, Any]

    def lists(self, rows: Examples, covered: NDArray[np.bool_]) -> tuple[Ids, Scores]:
        """Lists and distances of rows, [R, K_T]; those of rows that are not covered are filler."""
        some = rows_where(rows, covered)
        candidates = self.taught.conventional.lists(some, self.options.list_candidates)
        scores = self.scores(some, candidates, "training rows listed")
        ids, distances = reranked(candidates, scores, self.options.list_length)
        rankings = np.tile(np.arange(1, ids.shape[1] + 1, dtype=np.int32), (len(rows), 1))
        spread = np.zeros(rankings.shape, dtype=np.float32)
        rankings[covered], spread[covered] = ids, distances
        return rankings, spread

    def sample(self, rows: Examples) -> Examples:
        """The rows of evaluation that are ranked, or all."""
        chosen = sampled(len(rows), self.options.evaluation_rows, self.options.seed)
        return rows_where(rows, chosen)

    def ranks(self, rows: Examples, split: str) -> tuple[Ids, Ids]:
        """Ranks of the targets of rows: its own, and the conventional model's."""
        conventional = self.taught.conventional
        candidates, before = conventional.ranked(rows, self.options.list_candidates)
        scores = self.scores(rows, candidates, f"{split} rows ranked")
        return target_ranks_of(candidates, scores, before, rows.target), before

    def scores(self, rows: Examples, candidates: Ids, what: str) -> Scores:
        """See `candidate_scores`."""
        asked = {"rows": digest(rows.history, candidates)}
        return candidate_scores(
            self.taught.prompted,
            self.taught.asking,
            rows,
            candidates,
            self.options.at_once,
            folder_of(self.cache, "delrec-rows", self.inputs | asked),
            self.options.seed,
            what,
        )
