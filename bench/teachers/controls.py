"""Controls: knowledge generated from a teacher's, of which it is known what it is worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Generator, Tensor

from bench.distillation import Knowledge
from bench.errors import UnknownNameError
from bench.teachers.config import CONTROLS


def apply_control(knowledge: Knowledge, control: str, seed: int, targets: Tensor) -> Knowledge:
    """Knowledge of the same signals and shapes under a control.

    Args:
        knowledge: what the teacher knows; left as it is. Trajectories, memory-mapped before, are a
            changed copy in memory.
        control: one of `CONTROLS`, each described at its function here.
        seed: decides what is random.
        targets: int [R], ids 1..N of the targets of the training rows.

    Raises:
        UnknownNameError: no such control.
    """
    if control not in CONTROLS:
        raise UnknownNameError("control", control, CONTROLS)
    return _BY_NAME[control](knowledge, torch.Generator().manual_seed(seed), targets.long())


def shuffled(knowledge: Knowledge, generator: Generator, targets: Tensor) -> Knowledge:
    """Lists of other rows and embeddings of other items: distributions stay, the pairing is lost.

    Every training row has the lists, distances and coverage of another random row, and every item
    the embedding of another random item. Lists still name the items that the teacher lists often.
    """
    moved = shuffled_rows(knowledge, generator, targets)
    if knowledge.embeddings is None:
        return moved
    order = _permutation(len(knowledge.embeddings), 1, generator)
    return replace(moved, embeddings=knowledge.embeddings[order])


def shuffled_rows(knowledge: Knowledge, generator: Generator, targets: Tensor) -> Knowledge:
    """Lists of other rows: what the teacher knows of items stays, what it knows of histories goes.

    The rows move as they do under `shuffled` with the same seed.
    """
    lists = (knowledge.rankings, knowledge.distances, knowledge.truth_distance)
    if all(table is None for table in (*lists, knowledge.trajectories)):
        return knowledge
    order = _permutation(len(targets), 0, generator)
    rankings, distances, truth_distance, covered = (
        None if table is None else table[order] for table in (*lists, knowledge.covered)
    )
    return replace(
        knowledge,
        rankings=rankings,
        distances=distances,
        truth_distance=truth_distance,
        covered=covered,
        trajectories=_each_state(knowledge, lambda state: state[order]),
    )


def shuffled_items(knowledge: Knowledge, generator: Generator, targets: Tensor) -> Knowledge:
    """Every item under the name of another: one random renaming in lists and embeddings alike.

    Rows and items keep their relations to one another, and lists their agreement with embeddings;
    it is lost which item of the catalogue each of them is.
    """
    new_name = _permutation(len(knowledge.target_counts), 1, generator)
    embeddings = knowledge.embeddings
    return replace(
        knowledge,
        embeddings=None if embeddings is None else embeddings[new_name.argsort()],
        rankings=None if knowledge.rankings is None else new_name[knowledge.rankings],
        trajectories=_each_state(knowledge, lambda state: new_name[state.long()]),
    )


def popularity(knowledge: Knowledge, generator: Generator, targets: Tensor) -> Knowledge:
    """What counting tells: the most frequent training targets, the same list for every row.

    Ties are broken by catalogue order. Distances are the teacher's mean at each place. Embeddings
    have one dimension, laid along all D of the teacher's: the item's standardised log(1 + count),
    as long on average as the teacher's centred vectors. The distance of a row's target is that to
    the item listed first. Coverage is the teacher's.
    """
    counts = knowledge.target_counts[1:]
    order = counts.argsort(descending=True, stable=True) + 1
    spread = counts.log1p()
    spread = torch.cat([spread.new_zeros(1), (spread - spread.mean()) / (spread.std() + 1e-6)])
    covered = knowledge.covered
    distances, truth_distance = knowledge.distances, knowledge.truth_distance
    embeddings, length = knowledge.embeddings, 1.0
    if embeddings is not None:
        centred = embeddings[1:] - embeddings[1:].mean(dim=0)
        length = float(centred.square().sum(dim=1).mean().sqrt())
        width = embeddings.shape[1]
        embeddings = (spread * length / width**0.5)[:, None].expand(-1, width).contiguous()
    if distances is not None:
        told = distances if covered is None else distances[covered]
        distances = told.mean(dim=0).cummax(dim=0).values.repeat(len(distances), 1)
    if truth_distance is not None:
        truth_distance = length * (spread[order[0]] - spread[targets]).abs()
    rankings = knowledge.rankings
    return replace(
        knowledge,
        embeddings=embeddings,
        rankings=None if rankings is None else order[: rankings.shape[1]].repeat(len(rankings), 1),
        distances=distances,
        truth_distance=truth_distance,
        trajectories=_each_state(
            knowledge, lambda state: order[: state.shape[1]].to(state.dtype).expand_as(state)
        ),
    )


def oracle(knowledge: Knowledge, generator: Generator, targets: Tensor) -> Knowledge:
    """The row's own target first, then the teacher's list: a bound no teacher can pass honestly.

    Only training rows have lists, so only their targets are told. The last item makes room where
    the target was not listed. Distances stay place by place; the distance of the target is 0.
    """
    rankings, truth_distance = knowledge.rankings, knowledge.truth_distance
    return replace(
        knowledge,
        rankings=None if rankings is None else _target_first(rankings, targets),
        truth_distance=None if truth_distance is None else torch.zeros_like(truth_distance),
        trajectories=_each_state(knowledge, lambda state: _target_first(state, targets)),
    )


_BY_NAME: dict[str, Callable[[Knowledge, Generator, Tensor], Knowledge]] = {
    "shuffled": shuffled,
    "shuffled-rows": shuffled_rows,
    "shuffled-items": shuffled_items,
    "popularity": popularity,
    "oracle": oracle,
}


def _target_first(lists: Tensor, targets: Tensor) -> Tensor:
    """Lists [R, K] with the target moved, or put, to the first place."""
    is_target = lists == targets[:, None]
    place = torch.where(is_target.any(dim=1), is_target.int().argmax(dim=1), lists.shape[1] - 1)
    column = torch.arange(lists.shape[1]).expand_as(lists)
    moved = lists.gather(1, (column - (column <= place[:, None]).long()).clamp(min=0))
    moved[:, 0] = targets.to(lists.dtype)
    return moved


def _each_state(knowledge: Knowledge, change: Callable[[Tensor], Tensor]) -> Tensor | None:
    """Trajectories [M, C, R, K] in memory, `change` applied to the lists [R, K] of each state."""
    if knowledge.trajectories is None:
        return None
    changed = torch.empty(knowledge.trajectories.shape, dtype=knowledge.trajectories.dtype)
    for member, told in zip(changed, knowledge.trajectories, strict=True):
        for state, before in zip(member, told, strict=True):
            state.copy_(change(before))
    return changed


def _permutation(count: int, fixed: int, generator: Generator) -> Tensor:
    """A random order of `count` things that leaves the first `fixed` in place."""
    return torch.cat(
        [torch.arange(fixed), torch.randperm(count - fixed, generator=generator) + fixed]
    )
