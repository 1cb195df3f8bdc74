"""The item table of a student: its own embeddings, changed by whatever a method makes of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.distillation import Fusion

Table = Callable[[], Tensor]
"""Computes float32 [N + 1, d]; row 0 is padding and becomes zero whatever it says."""


class ItemTable(nn.Module):
    """Takes the place of a RecBole model's `item_embedding`.

    Look-ups read the input table, the tied scoring head reads the output table; each is computed
    at most once a step, and where training reads some rows alone, of these rows alone. Untouched,
    both are `offset` itself, so that an undistilled student is RecBole's model, bit for bit.
    """

    def __init__(self, offset: nn.Parameter, *, reads_all: bool) -> None:
        """Make a table of a model's own embeddings.

        Args:
            offset: float32 [N + 1, d]; row 0 becomes zero.
            reads_all: every step of training reads the whole output table.
        """
        super().__init__()
        self.reads_all = reads_all
        with torch.no_grad():
            offset[0] = 0.0
        self.offset = offset
        self.head: nn.Parameter | None = None
        self._items: Table | None = None
        self._scoring: Table | None = None
        self._fusions: list[tuple[Fusion, bool]] = []
        self._cosine_scale: float | None = None
        self.forget()

    @property
    def weight(self) -> Tensor:
        """The output table [N + 1, d] of this step (the name by which RecBole reads it)."""
        if "weight" not in self._tables:
            self._tables["weight"] = self._scored()
        return self._tables["weight"]

    @property
    def lookup(self) -> Tensor:
        """The input table [N + 1, d] of this step."""
        return self._composed("lookup")

    def forward(self, ids: Tensor) -> Tensor:
        """Embeddings [..., d] of item ids; padding is zero and receives no gradient.

        Vectors [..., d] pass as they are: RecBole's own forward then reads those.
        """
        if ids.is_floating_point():
            return ids
        if self._pays_by_row("lookup"):
            return self._by_row(ids, self.offset, [fusion for fusion, _ in self._fusions])
        return F.embedding(ids, self.lookup, padding_idx=0)

    def scoring(self, ids: Tensor) -> Tensor:
        """Rows `ids` [...] of the output table, [..., d]."""
        if self._pays_by_row("weight"):
            fusions = [fusion for fusion, output in self._fusions if output]
            rows = self._by_row(ids, self.offset if self.head is None else self.head, fusions)
            return rows if self._cosine_scale is None else F.normalize(rows, dim=-1)
        return F.embedding(ids, self.weight)

    def fuse(self, fusion: Fusion, *, output: bool) -> None:
        """Add `fusion` to the input table and, with `output`, to the scoring one."""
        self._fusions.append((fusion, output))
        self.forget()

    def replace(self, items: Table, scoring: Table | None) -> None:
        """Let `items()` be the table in place of `offset`, and `scoring()` that of the head."""
        self._items, self._scoring = items, scoring
        self.offset.requires_grad_(False)
        self.forget()

    def score_by_cosine(self, scale: float) -> None:
        """Normalise the rows of the scoring table, and hidden states to the length `scale`."""
        self._cosine_scale = scale
        self.forget()

    def hidden(self, hidden: Tensor) -> Tensor:
        """Encoded histories [B, d] as the scoring table wants them."""
        if self._cosine_scale is None:
            return hidden
        return self._cosine_scale * F.normalize(hidden, dim=1)

    def forget(self) -> None:
        """Drop the tables of the last step; the parameters behind them have changed."""
        self._tables: dict[str, Tensor] = {}

    def train(self, mode: bool = True) -> ItemTable:
        self.forget()
        return super().train(mode)

    @torch.no_grad()
    def fold(self) -> None:
        """Make the tables of this moment the student's own: nothing of the method remains.

        Where input and scoring differ, two tables remain: the student is then no longer tied.
        The length of hidden states under `score_by_cosine` is dropped, since no order within a
        row depends on it.
        """
        self.forget()
        lookup, weight = self.lookup, self.weight
        head = None if weight is lookup else weight.clone()  # it may be made of the offset
        if lookup is not self.offset:
            self.offset.copy_(lookup)
        if head is not None:
            self.head = nn.Parameter(head)
        self.offset.requires_grad_(True)
        self._items = self._scoring = self._cosine_scale = None
        self._fusions.clear()
        self.forget()

    def _composed(self, table: str) -> Tensor:
        """The whole input table (`lookup`), or the head as far as it is made of the same parts."""
        if table not in self._tables:
            tied = self.head is None and all(output for _, output in self._fusions)
            if table == "head" and tied:
                return self._composed("lookup")
            with self._exact():
                self._tables[table] = self._made(table)
        return self._tables[table]

    def _made(self, table: str) -> Tensor:
        rows = self.offset if self._items is None else _padded(self._items())
        if table == "head" and self.head is not None:
            rows = self.head
        for fusion, output in self._fusions:
            if output or table == "lookup":
                rows = rows + _padded(fusion(slice(None)))
        return rows

    def _pays_by_row(self, table: str) -> bool:
        """Whether this step reads few rows of a table, which are cheaper than all of them.

        Finding the different ids would make the host wait for a GPU, which projects a whole
        table in less time.
        """
        return (
            self.training
            and self.offset.device.type == "cpu"
            and table not in self._tables
            and bool(self._fusions)
            and self._items is self._scoring is None
            and not (self.reads_all and any(output for _, output in self._fusions))
        )

    def _by_row(self, ids: Tensor, own: Tensor, fusions: list[Fusion]) -> Tensor:
        """Rows `ids` [...] of a table, each different one made once; zero at padding."""
        different, place = ids.unique(return_inverse=True)
        rows = F.embedding(different, own)
        with self._exact():
            for fusion in fusions:
                rows = rows + fusion(different)
        return F.embedding(place, rows * (different > 0).unsqueeze(1))

    def _exact(self) -> torch.autocast:
        """Without autocast: an encoder under it may be the first to ask, scores are made of it."""
        return torch.autocast(self.offset.device.type, enabled=False)

    def _scored(self) -> Tensor:
        """The output table; a `scoring` of the method's own may read the input table."""
        table = self._composed("head") if self._scoring is None else _padded(self._scoring())
        return table if self._cosine_scale is None else F.normalize(table, dim=1)


def _padded(table: Tensor) -> Tensor:
    """The table with a zero row 0, whatever a projector's bias made of it."""
    return F.pad(table[1:], (0, 0, 1, 0))
