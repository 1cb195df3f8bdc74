"""Training rows and a teacher of several models with histories of their own, for HetComp."""

from __future__ import annotations

import numpy as np
import torch

from bench.data.examples import Examples
from bench.distillation import Batch, Knowledge
from bench.training.rows import DeviceRows

from .conftest import HISTORY, N_ITEMS, N_ROWS

TEACHERS, STATES, LISTED, USERS = ("first", "second", "third"), 4, 20, 9


def toy_knowledge(seed: int = 0) -> Knowledge:
    """64 rows of 9 users; lists of 20 out of 40 items, each state with lists of its own."""
    random = np.random.default_rng(seed)
    length = random.integers(1, HISTORY + 1, N_ROWS).astype(np.int32)
    history = random.integers(1, N_ITEMS + 1, (N_ROWS, HISTORY)).astype(np.int32)
    history[np.arange(HISTORY) >= length[:, None]] = 0
    target = random.integers(1, N_ITEMS + 1, N_ROWS).astype(np.int32)
    # The first user has many rows, the last ones few; ids have gaps.
    user = (3 * np.minimum(random.geometric(0.3, N_ROWS), USERS)).astype(np.int32)
    scores = random.random((len(TEACHERS), STATES, N_ROWS, N_ITEMS))
    lists = np.argsort(scores, axis=-1)[..., :LISTED].astype(np.int32) + 1
    rows = Examples(history=history, length=length, target=target, user=user, ordinal=length)
    return Knowledge(
        target_counts=torch.ones(N_ITEMS + 1),
        rows=DeviceRows.of(rows, torch.device("cpu")),
        trajectories=torch.from_numpy(lists),
        trajectory_names=TEACHERS,
    )


def batch_of(knowledge: Knowledge, size: int = 16) -> Batch:
    generator = torch.Generator().manual_seed(7)
    row_id = torch.randperm(N_ROWS, generator=generator)[:size]
    return Batch.of(knowledge.rows, row_id, generator)


def excluded(knowledge: Knowledge, row: int, *, history: bool = True) -> set[int]:
    """Target and history of a row, and padding."""
    held = set(knowledge.rows.history[row].tolist()) if history else set()
    return held | {int(knowledge.rows.target[row]), 0}


def allowed(
    knowledge: Knowledge, teacher: int, state: int, row: int, *, history: bool = True
) -> list[int]:
    """A teacher's list of a row without what the row may not be taught."""
    left_out = excluded(knowledge, row, history=history)
    ids = knowledge.trajectories[teacher, state, row].tolist()
    return [i for i in ids if i not in left_out]
