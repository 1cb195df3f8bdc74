"""`id+text`: the scores of two students that were trained apart, added up.

One knows items by ids (`none`), the other by their texts alone (`whiten`). Each row's scores are
standardised and added (EnsRec, RecSys 2026, arXiv 2512.17820). It costs two students at serving,
and is what one student that a text teacher distils is measured by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from bench.evaluation.metrics import CATALOGUE, split_metrics
from bench.evaluation.segments import segment_metrics
from bench.execution.inputs import Inputs
from bench.plan import DEFAULT_VARIANT, Reference, Trial, digest
from bench.records.record import Outcome, Record, finished
from bench.records.store import ResultStore

if TYPE_CHECKING:
    from torch import Tensor

    from bench.data.config import Seen
    from bench.data.examples import Examples, PreparedData
    from bench.evaluation.metrics import TargetRanks
    from bench.students.adapter import Adapter

NAME, IDS, TEXT = "id+text", "none", "whiten"

Pair = tuple[Trial, Trial]


def write_missing(
    trials: Iterable[Trial],
    store: ResultStore,
    inputs: Inputs,
    recorded: Callable[[str], Record | None],
) -> None:
    """Record the sums of the pairs of trials that are finished, and are not recorded yet.

    Args:
        trials: of a grid.
        store: where their records and students are.
        inputs: their data.
        recorded: the record of a key in the store, if there is one.
    """
    for reference, pair in pairs(trials):
        halves = [one for trial in pair if (one := recorded(trial.key)) and one.is_done]
        if recorded(reference.key) is not None or len(halves) < len(pair):
            continue
        with store.claim(reference.key) as granted:
            if granted and recorded(reference.key) is None:
                data = inputs.data(pair[0].data_name)
                outcome = _outcome(halves, pair[0].seen, store, data)
                store.write(finished(reference, outcome), outcome)


def pairs(trials: Iterable[Trial]) -> Iterator[tuple[Reference, Pair]]:
    """Each `none` beside the `whiten` of its setting and seed, and what their sum is called.

    Of several teachers of texts it is the last one's.
    """
    plain = [one for one in trials if one.variant == DEFAULT_VARIANT and one.control is None]
    if not {IDS, TEXT} <= {one.method for one in plain}:
        return
    from bench.records.frame import setting_of  # with pandas, which planning does without

    halves: dict[tuple[str, int], dict[str, Trial]] = {}
    for trial in plain:
        if trial.method in (IDS, TEXT):
            halves.setdefault((setting_of(trial), trial.seed), {})[trial.method] = trial
    for (setting, seed), found in halves.items():
        if found.keys() == {IDS, TEXT}:
            ids, text = found[IDS], found[TEXT]
            made_of = [
                one.model_dump(mode="json", exclude={"seed", "overrides"}) for one in (ids, text)
            ]
            yield (
                Reference(
                    name=NAME,
                    dataset=ids.dataset,
                    protocol=ids.protocol,
                    data_fingerprint=ids.data_fingerprint,
                    student=ids.student,
                    objective=ids.training.objective,
                    seed=seed,
                    setting=setting,
                    made_of=digest(made_of),
                ),
                (ids, text),
            )


def _outcome(
    halves: Sequence[Record], seen: Seen, store: ResultStore, data: PreparedData
) -> Outcome:
    from bench.execution.finished import load_student

    students = [load_student(record, store, data) for record in halves]
    valid, test = (_ranks(students, rows, data) for rows in (data.valid, data.test))
    ranks = test.under(seen)
    return Outcome(
        metrics=split_metrics(valid=valid, test=test),
        segments=segment_metrics(ranks, data),
        ranks=test.ranked,
        masked_ranks=test.masked,
        parameters={"inference": sum(p.numel() for one in students for p in one.parameters())},
        settings={CATALOGUE: data.n_items},
    )


def _ranks(students: list[Adapter], rows: Examples, data: PreparedData) -> TargetRanks:
    """Ranks of the targets by the sum of the students' standardised scores."""
    import torch

    from bench.evaluation.ranking import RankedBlocks, SeenItems
    from bench.teachers.rows import blocks

    ranked = RankedBlocks(SeenItems.of(data.sequences, torch.device("cpu")))
    with torch.no_grad():
        for _, block in blocks(rows, "cpu"):
            scores: Tensor = sum(
                _standardised(one.logits(one.encode(block.history, block.length, block.user)))
                for one in students
            )  # type: ignore[assignment]
            ranked.add(scores, block)
    return ranked.found()


def _standardised(logits: Tensor) -> Tensor:
    """Scores [B, N] of the real items with mean 0 and deviation 1 in every row."""
    scores = logits[:, 1:]
    spread = scores.std(dim=1, correction=0, keepdim=True).clamp_min(1e-12)
    return (scores - scores.mean(dim=1, keepdim=True)) / spread
