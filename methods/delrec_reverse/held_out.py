"""Training rows that a stage keeps aside to be judged by."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.distillation import Batch, TrainingRows

SHARE = 0.02
BLOCK = 1024


class HeldOut:
    """A random share of the usable rows, and the others."""

    def __init__(self, rows: TrainingRows, usable: Tensor) -> None:
        """Args: usable: bool [R]. The rows are drawn from torch's global generator."""
        candidates = usable.nonzero().squeeze(1)
        order = candidates[torch.randperm(len(candidates)).to(candidates.device)]
        count = max(1, round(SHARE * len(order)))
        self.rows, self.kept, self.others = rows, order[:count], order[count:]

    def batches(self) -> Iterator[Batch]:
        """The rows kept aside; whatever a method draws for them is the same every time."""
        generator = torch.Generator(self.kept.device).manual_seed(0)
        for row_id in self.kept.split(BLOCK):
            yield Batch.of(self.rows, row_id, generator)
