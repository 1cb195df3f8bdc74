"""Lists of a conventional recommender in the order that a language model gives them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.data.examples import Examples, Ids
from bench.errors import BenchError
from bench.evaluation.ranking import target_ranks
from bench.teachers.kinds.delrec.candidates import dealt
from bench.teachers.kinds.delrec.questions import Asking
from bench.teachers.kinds.delrec.soft_prompts import PromptedModel
from bench.teachers.language.resume import in_batches, longest_first

Scores = NDArray[np.float32]


def candidate_scores(
    prompted: PromptedModel,
    asking: Asking,
    rows: Examples,
    candidates: Ids,
    at_once: int,
    folder: Path,
    seed: int,
    what: str,
) -> Scores:
    """How well the model likes each candidate of each row.

    The candidates of a row are dealt into groups of as many as the model was trained on, one
    question each, in which they stand in random order.

    Args:
        prompted: a trained model.
        asking: makes the questions.
        rows: R rows.
        candidates: int32 [R, C], none twice in a row.
        at_once: rows that are computed at a time.
        folder: keeps what is finished, for a run that goes on where this one was killed.
        seed: of the order in which candidates are shown.
        what: what the rows are called in progress.

    Returns:
        float32 [R, C], see `PromptedModel`.

    Raises:
        BenchError: a score is NaN or infinite.
    """
    groups = dealt(candidates.shape[1], asking.candidates)

    @torch.inference_mode()
    def compute(chosen: Sequence[int]) -> list[list[float]]:
        found = np.empty((len(chosen), candidates.shape[1]), dtype=np.float32)
        # By the key of a row, so that a sample of rows is asked what all of them are.
        shown = [
            np.random.default_rng([seed, int(rows.user[row]), int(rows.ordinal[row])])
            for row in chosen
        ]
        for group in groups:
            orders = [random.permutation(group) for random in shown]
            questions = [
                asking.among(rows, row, candidates[row, order])
                for row, order in zip(chosen, orders, strict=True)
            ]
            scores = prompted.scores(questions).cpu().numpy()
            np.put_along_axis(found, np.stack(orders), scores, axis=1)
        if not np.isfinite(found).all():
            raise BenchError(
                f"the scores of the language model '{prompted.language.name}' are NaN or infinite; "
                "train it with a lower learning_rate"
            )
        return found.tolist()

    prompted.eval()
    batches = longest_first(range(len(rows)), rows.length.tolist(), at_once)
    results = in_batches(folder, batches, compute, what)
    return np.array([results[row] for row in range(len(rows))], dtype=np.float32)


def reranked(candidates: Ids, scores: Scores, size: int) -> tuple[Ids, Scores]:
    """The candidates by falling score; of two with one score the earlier stays ahead.

    Args:
        candidates: int32 [R, C], best first.
        scores: float32 [R, C], never above 0.
        size: K_T <= C.

    Returns:
        Ids int32 [R, K_T] and their distances float32 [R, K_T], the scores' negatives, which rise.
    """
    order = np.argsort(-scores, axis=1, kind="stable")[:, :size]
    distances = np.maximum(-np.take_along_axis(scores, order, 1), np.float32(0))
    return np.take_along_axis(candidates, order, 1), distances


def target_ranks_of(candidates: Ids, scores: Scores, before: Ids, target: Ids) -> Ids:
    """Ranks of targets once the head of a full ranking has another order.

    Args:
        candidates: int32 [R, C], the C items at the head of the ranking of each row.
        scores: float32 [R, C], what they are ordered by now; ties count against the target.
        before: int32 [R], ranks of the targets in the ranking before.
        target: int32 [R].

    Returns:
        int32 [R], 1..N.
    """
    ranks = np.array(before)
    among = candidates == target[:, None]
    hit = among.any(1)
    if hit.any():
        places = torch.from_numpy(among[hit].argmax(1))
        ranks[hit] = target_ranks(torch.from_numpy(scores[hit]), places).numpy()
    return ranks
