"""A student whose logits are given, and what a method asked it."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.distillation import Batch, Knowledge
from bench.training.output import BlockBuffers, StepOutput

from .conftest import N_ITEMS


class Told(StepOutput):
    """Its logits are `hidden` itself, [B, N + 1], so that gradients there are those of logits."""

    def __init__(self, logits: Tensor) -> None:
        table = torch.eye(logits.shape[1], dtype=logits.dtype)
        super().__init__(logits, table, BlockBuffers())
        self.asked: list[Tensor] = []

    def scores(self, ids: Tensor) -> Tensor:
        """Also notes the ids."""
        self.asked.append(ids)
        return super().scores(ids)


def told(size: int = 16, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> Told:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(size, N_ITEMS + 1, generator=generator, dtype=dtype)
    logits[:, 0] = 0
    return Told(logits.requires_grad_())


def seen(batch: Batch, row: int) -> set[int]:
    """History and target of a row."""
    return {*batch.history[row].tolist(), int(batch.target[row])} - {0}


def filtered(knowledge: Knowledge, batch: Batch, row: int) -> list[int]:
    """The teacher's list of a row without its history and target."""
    listed = knowledge.rankings[batch.row_id[row]].tolist()
    return [item for item in listed if item not in seen(batch, row)]
