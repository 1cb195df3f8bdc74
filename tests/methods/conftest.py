"""A small student, its rows and a complete teacher, the same for every test of a method."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bench.distillation import Batch, Knowledge
from bench.students.adapter import Adapter
from bench.students.config import StudentConfig
from bench.training.output import BlockBuffers, StepOutput

N_ITEMS, N_ROWS, HISTORY, TEACHER_DIM, LISTED = 40, 64, 6, 12, 15


@pytest.fixture
def knowledge() -> Knowledge:
    generator = torch.Generator().manual_seed(11)
    scores = torch.rand(N_ROWS, N_ITEMS, generator=generator)
    embeddings = torch.randn(N_ITEMS + 1, TEACHER_DIM, generator=generator)
    embeddings[0] = 0
    return Knowledge(
        target_counts=torch.cat([torch.zeros(1), torch.arange(N_ITEMS).float()]),
        embeddings=embeddings,
        rankings=scores.argsort(dim=1)[:, :LISTED] + 1,
        distances=torch.rand(N_ROWS, LISTED, generator=generator).mul(9).sort(dim=1).values + 20,
        covered=torch.ones(N_ROWS, dtype=torch.bool),
        truth_distance=torch.rand(N_ROWS, generator=generator) * 5 + 20,
        histories=torch.randn(N_ROWS, TEACHER_DIM, generator=generator),
    )


def make_student(objective: str = "ce", model: str = "SASRec") -> Adapter:
    torch.manual_seed(2)
    return Adapter.of(
        StudentConfig(model=model),
        n_items=N_ITEMS,
        history=HISTORY,
        known_users=torch.ones(N_ROWS, dtype=torch.bool),
        objective=objective,
    )


def make_batch(size: int = 16, *, negative: bool = False) -> Batch:
    generator = torch.Generator().manual_seed(7)
    length = torch.randint(1, HISTORY + 1, (size,), generator=generator)
    history = torch.randint(1, N_ITEMS + 1, (size, HISTORY), generator=generator)
    history[torch.arange(HISTORY) >= length.unsqueeze(1)] = 0
    return Batch(
        row_id=torch.randperm(N_ROWS, generator=generator)[:size],
        history=history,
        length=length,
        target=torch.randint(1, N_ITEMS + 1, (size,), generator=generator),
        user=torch.arange(size),
        negative=torch.randint(1, N_ITEMS + 1, (size,), generator=generator) if negative else None,
        generator=generator,
    )


def output(size: int = 16, scale: float = 1.0, seed: int = 0) -> StepOutput:
    """A student's answer to `size` rows, its scores about `scale` wide."""
    generator = torch.Generator().manual_seed(seed)
    hidden = (scale * torch.randn(size, 8, generator=generator)).requires_grad_()
    table = torch.randn(N_ITEMS + 1, 8, generator=generator)
    table[0] = 0
    return StepOutput(hidden, table.requires_grad_(), BlockBuffers())


def dense(out: StepOutput) -> np.ndarray:
    """All scores in float64 [B, N + 1]; column 0 must not be used."""
    return (out.hidden.detach().double() @ out.table.detach().double().T).numpy()


def batch_of(history: list[list[int]], target: list[int], seed: int = 0) -> Batch:
    """A batch of these histories and targets."""
    ids = torch.tensor(history)
    return dataclasses.replace(
        make_batch(len(target)),
        history=ids,
        length=(ids > 0).sum(dim=1),
        target=torch.tensor(target),
        generator=torch.Generator().manual_seed(seed),
    )
