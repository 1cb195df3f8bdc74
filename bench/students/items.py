"""The item table of a student: its own embeddings plus whatever a method fuses into them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ItemTable(nn.Module):
    """Takes the place of a RecBole model's `item_embedding`.

    Look-ups read the input table, the tied scoring head reads the output table. Without fusions
    both are `offset` itself, so that an undistilled student is RecBole's model, bit for bit.
    """

    def __init__(self, offset: nn.Parameter) -> None:
        """Args: offset: float32 [N + 1, d], the student's own embeddings; row 0 becomes zero."""
        super().__init__()
        with torch.no_grad():
            offset[0] = 0.0
        self.offset = offset
        self.head: nn.Parameter | None = None
        self._fusions: list[tuple[Callable[[], Tensor], bool]] = []
        self._tables: tuple[Tensor, Tensor] | None = None

    @property
    def weight(self) -> Tensor:
        """The output table [N + 1, d] of this step (the name by which RecBole reads it)."""
        return self.tables()[1]

    def forward(self, ids: Tensor) -> Tensor:
        """Embeddings [..., d] of item ids; padding is zero and receives no gradient."""
        return F.embedding(ids, self.tables()[0], padding_idx=0)

    def fuse(self, fusion: Callable[[], Tensor], *, output: bool) -> None:
        """Add `fusion()` [N + 1, d] to the input table and, with `output`, to the scoring one."""
        self._fusions.append((fusion, output))
        self._tables = None

    def tables(self) -> tuple[Tensor, Tensor]:
        """Input and output table, computed once a step (once an evaluation)."""
        if self._tables is None:
            lookup: Tensor = self.offset
            head: Tensor = self.offset if self.head is None else self.head
            for fusion, output in self._fusions:
                # Row 0 stays zero whatever a projector's bias makes of it.
                term = F.pad(fusion()[1:], (0, 0, 1, 0))
                tied = head is lookup
                lookup = lookup + term
                if output:
                    head = lookup if tied else head + term
            self._tables = (lookup, head)
        return self._tables

    def forget(self) -> None:
        """Drop the tables of the last step; the parameters behind them have changed."""
        self._tables = None

    def train(self, mode: bool = True) -> ItemTable:
        self.forget()
        return super().train(mode)

    @torch.no_grad()
    def fold(self) -> None:
        """Make the fused tables the student's own, so that nothing of the method remains.

        A fusion on the input side alone leaves two tables: the student is then no longer tied.
        """
        self.forget()
        lookup, head = self.tables()
        if head is not lookup:
            self.head = nn.Parameter(head.clone())
        self.offset.copy_(lookup.clone())
        self._fusions.clear()
        self.forget()
