"""Training rows of a few users, for methods that look at rows beyond the batch."""

from __future__ import annotations

import dataclasses

import torch

from bench.distillation import Batch, Knowledge
from bench.training.rows import DeviceRows

from .conftest import HISTORY, N_ITEMS, N_ROWS

USERS = 8


def make_rows() -> DeviceRows:
    generator = torch.Generator().manual_seed(21)
    length = torch.randint(1, HISTORY + 1, (N_ROWS,), generator=generator)
    history = torch.randint(1, N_ITEMS + 1, (N_ROWS, HISTORY), generator=generator)
    history[torch.arange(HISTORY) >= length.unsqueeze(1)] = 0
    target = torch.randint(1, N_ITEMS + 1, (N_ROWS,), generator=generator)
    user = torch.arange(N_ROWS) % USERS
    return DeviceRows(history, length, target, user, torch.arange(N_ROWS) // USERS + 1)


def with_rows(knowledge: Knowledge) -> Knowledge:
    return dataclasses.replace(knowledge, rows=make_rows())


def batch_at(row_id: list[int]) -> Batch:
    generator = torch.Generator().manual_seed(3)
    return Batch.of(make_rows(), torch.tensor(row_id), generator)
