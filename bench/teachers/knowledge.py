"""A teacher's knowledge as methods take it: tensors, once the contract is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.data.examples import PreparedData
from bench.distillation import Knowledge
from bench.errors import InputsChanged
from bench.evaluation.metrics import TargetRanks
from bench.signals import Signal
from bench.teachers.contract import Checked, check
from bench.teachers.rules import Array

REPLACED = (
    "something replaced it since, such as `bench teacher build --force`. The same command, given "
    "again, goes on with what is there now"
)


def load_knowledge(folder: Path, data: PreparedData, fingerprint: str | None = None) -> Knowledge:
    """The knowledge of a teacher about the examples and items of `data`, on the CPU.

    Args:
        folder: the teacher's folder.
        data: N items and R training examples that it must be about, in their order.
        fingerprint: that it must have; None: any.

    Returns:
        The arrays of `bench.signals.Signals`, those of items with a row 0 of zeros before them.
        Examples that are not covered hold harmless filler. A mapped array is not copied.

    Raises:
        ArtifactError: lists everything that breaks the contract.
        InputsChanged: it has another fingerprint.
    """
    checked = check(folder, data, test_ranks=False).or_raise(folder)
    _refuse_another(folder, checked, fingerprint)
    arrays: dict[str, Any] = {
        signal.attribute: _tensor(signal, array) for signal, array in checked.arrays().items()
    }
    names = () if checked.trajectories is None else tuple(checked.manifest.members)
    return Knowledge(
        target_counts=torch.from_numpy(data.target_counts().astype(np.float32)),
        trajectory_names=names,
        **arrays,
    )


def load_test_ranks(
    folder: Path, data: PreparedData, fingerprint: str | None = None
) -> TargetRanks | None:
    """The ranks of the test targets under a teacher, where it has them.

    Those of lists that end somewhere hold up to the manifest's `test_places`.

    Args:
        folder: the teacher's folder.
        data: what it must be about.
        fingerprint: that it must have; None: any.

    Raises:
        ArtifactError: they are no ranks of the test examples of `data`.
        InputsChanged: the teacher has another fingerprint.
    """
    checked = check(folder, data, knowledge=False).or_raise(folder)
    _refuse_another(folder, checked, fingerprint)
    if checked.test_ranks is None:
        return None
    return TargetRanks(checked.test_ranks, checked.masked_test_ranks)


def _refuse_another(folder: Path, checked: Checked, fingerprint: str | None) -> None:
    found = checked.manifest.fingerprint
    if fingerprint not in (None, found):
        raise InputsChanged(
            f"{folder}: this is not the teacher that the run was planned for (its fingerprint is "
            f"{found[:12]}, and not {str(fingerprint)[:12]}): {REPLACED}"
        )


def _tensor(signal: Signal, array: Array) -> torch.Tensor:
    if signal.index == "items":
        array = np.concatenate([np.zeros_like(array[:1]), array])
    return torch.from_numpy(np.ascontiguousarray(array))
