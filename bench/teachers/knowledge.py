"""A teacher's knowledge as methods take it: tensors, once the contract is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bench.data.examples import Ids, PreparedData
from bench.distillation import Knowledge
from bench.errors import ArtifactError
from bench.teachers.contract import Checked, check_knowledge, check_test_ranks
from bench.teachers.rules import Array


def load_knowledge(folder: Path, data: PreparedData) -> Knowledge:
    """The knowledge of a teacher about the rows and items of `data`, on the CPU.

    Args:
        folder: the teacher's folder.
        data: N items and R training rows that it must speak of, in their order.

    Returns:
        Embeddings float32 [N + 1, D] (row 0 is zero), rankings int64 [R, K_T] with ids 1..N,
        distances float32 [R, K_T], truth_distance float32 [R], covered bool [R], trajectories int32
        [M, C, R, K_T] (memory-mapped); None for a signal that the teacher does not offer. Rows
        that are not covered hold harmless filler.

    Raises:
        ArtifactError: lists everything that breaks the contract.
    """
    checked = _sound(check_knowledge(folder, data), folder)
    embeddings = checked.embeddings
    if embeddings is not None:
        embeddings = np.concatenate([np.zeros_like(embeddings[:1]), embeddings])
    trajectories = checked.trajectories
    return Knowledge(
        target_counts=torch.from_numpy(data.target_counts().astype(np.float32)),
        embeddings=_tensor(embeddings),
        rankings=_tensor(checked.rankings),
        distances=_tensor(checked.distances),
        covered=_tensor(checked.covered),
        truth_distance=_tensor(checked.truth_distance),
        trajectories=None if trajectories is None else torch.from_numpy(trajectories),
        trajectory_names=() if trajectories is None else tuple(checked.manifest.members),
    )


def load_test_ranks(folder: Path, data: PreparedData) -> Ids | None:
    """The ranks of the test targets under a teacher, int32 [R_test], where it tells them.

    Raises:
        ArtifactError: they are no ranks of the test rows of `data`.
    """
    return _sound(check_test_ranks(folder, data), folder).test_ranks


def _sound(checked: Checked, folder: Path) -> Checked:
    if checked.problems:
        raise ArtifactError(str(folder), checked.problems)
    return checked


def _tensor(array: Array | None) -> torch.Tensor | None:
    return None if array is None else torch.from_numpy(np.ascontiguousarray(array))
