"""Controls: knowledge that keeps a teacher's shape and statistics but not what it knows."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from bench.errors import UnknownNameError
from bench.teachers.config import CONTROLS
from methods.base import Knowledge


def apply_control(knowledge: Knowledge, control: str, seed: int) -> Knowledge:
    """Knowledge under a control.

    `shuffled` gives every training row the lists, distances and coverage of another random row, and
    every item the embedding of another random item. Distributions stay; the pairing is lost.
    Trajectories, memory-mapped before, are then a permuted copy in memory.

    Args:
        knowledge: what the teacher knows; left as it is.
        control: `shuffled`.
        seed: decides both permutations.

    Raises:
        UnknownNameError: no such control.
    """
    if control not in CONTROLS:
        raise UnknownNameError("control", control, CONTROLS)
    generator = torch.Generator().manual_seed(seed)

    def permuted(table: Tensor | None, order: Tensor | None, axis: int = 0) -> Tensor | None:
        if table is None or order is None:
            return None
        return table.index_select(axis, order.to(table.device))

    tables = (knowledge.rankings, knowledge.distances, knowledge.truth_distance)
    lengths = [len(table) for table in tables if table is not None]
    if knowledge.trajectories is not None:
        lengths.append(knowledge.trajectories.shape[2])
    rows = _permutation(lengths, 0, generator)
    embeddings = knowledge.embeddings
    items = _permutation([] if embeddings is None else [len(embeddings)], 1, generator)
    return replace(
        knowledge,
        embeddings=permuted(embeddings, items),
        rankings=permuted(knowledge.rankings, rows),
        distances=permuted(knowledge.distances, rows),
        covered=permuted(knowledge.covered, rows),
        truth_distance=permuted(knowledge.truth_distance, rows),
        trajectories=permuted(knowledge.trajectories, rows, axis=2),
    )


def _permutation(lengths: list[int], fixed: int, generator: torch.Generator) -> Tensor | None:
    """A random order of things of these (equal) numbers that leaves the first `fixed` in place."""
    if not lengths:
        return None
    return torch.cat(
        [torch.arange(fixed), torch.randperm(lengths[0] - fixed, generator=generator) + fixed]
    )
