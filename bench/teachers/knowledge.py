"""A teacher's knowledge as methods take it: tensors, once the contract is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.data.examples import Ids, PreparedData
from bench.distillation import Knowledge
from bench.signals import Signal
from bench.teachers.contract import check
from bench.teachers.rules import Array


def load_knowledge(folder: Path, data: PreparedData) -> Knowledge:
    """The knowledge of a teacher about the examples and items of `data`, on the CPU.

    Args:
        folder: the teacher's folder.
        data: N items and R training examples that it must be about, in their order.

    Returns:
        The arrays of `bench.signals.Signals`, those of items with a row 0 of zeros before them.
        Examples that are not covered hold harmless filler. A mapped array is not copied.

    Raises:
        ArtifactError: lists everything that breaks the contract.
    """
    checked = check(folder, data, test_ranks=False).or_raise(folder)
    arrays: dict[str, Any] = {
        signal.attribute: _tensor(signal, array) for signal, array in checked.arrays().items()
    }
    names = () if checked.trajectories is None else tuple(checked.manifest.members)
    return Knowledge(
        target_counts=torch.from_numpy(data.target_counts().astype(np.float32)),
        trajectory_names=names,
        **arrays,
    )


def load_test_ranks(folder: Path, data: PreparedData) -> Ids | None:
    """The ranks of the test targets under a teacher, int32 [R_test], where it has them.

    Raises:
        ArtifactError: they are no ranks of the test examples of `data`.
    """
    return check(folder, data, knowledge=False).or_raise(folder).test_ranks


def _tensor(signal: Signal, array: Array) -> torch.Tensor:
    if signal.index == "items":
        array = np.concatenate([np.zeros_like(array[:1]), array])
    return torch.from_numpy(np.ascontiguousarray(array))
