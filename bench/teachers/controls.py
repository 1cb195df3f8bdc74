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

    `shuffled` gives every training row the list, distances and coverage of another random row, and
    every item the embedding of another random item. Distributions stay; the pairing is lost.

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

    def permuted(table: Tensor | None, order: Tensor | None) -> Tensor | None:
        return None if table is None or order is None else table[order.to(table.device)]

    rows = _permutation(
        (knowledge.rankings, knowledge.distances, knowledge.truth_distance), 0, generator
    )
    items = _permutation((knowledge.embeddings,), 1, generator)
    return replace(
        knowledge,
        embeddings=permuted(knowledge.embeddings, items),
        rankings=permuted(knowledge.rankings, rows),
        distances=permuted(knowledge.distances, rows),
        covered=permuted(knowledge.covered, rows),
        truth_distance=permuted(knowledge.truth_distance, rows),
    )


def _permutation(
    tables: tuple[Tensor | None, ...], fixed: int, generator: torch.Generator
) -> Tensor | None:
    """A random order of the rows of `tables` that leaves the first `fixed` rows in place."""
    size = next((len(table) for table in tables if table is not None), None)
    if size is None:
        return None
    return torch.cat(
        [torch.arange(fixed), torch.randperm(size - fixed, generator=generator) + fixed]
    )
