"""Small students, and histories for them to read."""

from __future__ import annotations

import torch

from bench.students.adapter import Adapter
from bench.students.config import StudentConfig

N_ITEMS, HISTORY, N_USERS = 50, 10, 7


def make(
    model: str, objective: str = "ce", *, prompt_length: int = 0, **parameters: object
) -> Adapter:
    """A student with the same initial parameters every time; user 3 has no training rows."""
    torch.manual_seed(0)
    return Adapter.of(
        StudentConfig(model=model, parameters=parameters),
        n_items=N_ITEMS,
        history=HISTORY,
        known_users=torch.arange(N_USERS) != 3,
        objective=objective,
        prompt_length=prompt_length,
    )


def rows(count: int = 32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Histories, their lengths and users."""
    generator = torch.Generator().manual_seed(1)
    history = torch.randint(1, N_ITEMS + 1, (count, HISTORY), generator=generator)
    length = torch.randint(1, HISTORY + 1, (count,), generator=generator)
    history[torch.arange(HISTORY) >= length.unsqueeze(1)] = 0
    return history, length, torch.randint(0, N_USERS, (count,), generator=generator)
