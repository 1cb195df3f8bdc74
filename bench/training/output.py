"""What a student says about a batch, computed on demand and at most once."""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.blocks import row_stride
from bench.distillation.lists import contains
from bench.training.log_mass import Energy, Logit, LogMass
from bench.training.robust import RobustTerms

KEPT_BYTES, PART_BYTES = 64 * 2**20, 4 * 2**20
"""On a CPU, a sweep over a float32 block that is larger than the first takes its rows in parts of
the second, which stay in the cache; a part is made again in the backward pass, an exponential
dearer. A bfloat16 block may be twice as large: with what is kept beside it, it takes as much memory
as that float32 block alone.
"""


class Items(Protocol):
    """The items of a step as they are scored: inner products of queries and keys."""

    def item_table(self) -> Tensor:
        """float32 [N + 1, d], the scoring table."""

    def queries(self, hidden: Tensor) -> Tensor:
        """Queries [B, d'] of encoded histories [B, d]."""

    def keys(self) -> Tensor:
        """float32 [N + 1, d']."""

    def keys_of(self, ids: Tensor) -> Tensor:
        """Rows `ids` [...] of them, [..., d']."""


class BlockBuffers:
    """Memory for blocks [B, N + 1] that every step uses again.

    A fresh block of tens of megabytes a step costs page faults worth a large part of the step.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, torch.dtype], Tensor] = {}

    def take(self, name: str, rows: int, columns: int, like: Tensor) -> Tensor:
        """A view [rows, columns] of buffer `name`, of the type of `like`, its content undefined."""
        stride = row_stride(columns, like.element_size())
        buffer = self._buffers.get((name, like.dtype))
        if buffer is None or buffer.numel() < rows * stride or buffer.device != like.device:
            buffer = self._buffers[name, like.dtype] = like.new_empty(rows * stride)
        return buffer[: rows * stride].view(rows, stride)[:, :columns]

    def spare(self, name: str, block: Tensor) -> Tensor:
        """Scratch for sweeps over `block` [B, N + 1]: as large, or for some of its rows.

        Only what is as large is kept for `name` alone.
        """
        rows, columns = block.shape
        row_bytes = columns * block.element_size()
        kept = KEPT_BYTES * (2 if block.dtype == torch.bfloat16 else 1)
        if block.device.type != "cpu" or rows * row_bytes <= kept:
            return self.take(name, rows, columns, block)
        return self.take("part", min(rows, max(1, PART_BYTES // row_bytes)), columns, block)


class StepOutput:
    """Implements `bench.distillation.Output` for one training step."""

    def __init__(
        self,
        hidden: Tensor,
        items: Items | Tensor,
        buffers: BlockBuffers,
        target: Tensor | None = None,
        dros_temperature: float = 1.0,
        factors: torch.dtype | None = None,
        left_out: Tensor | None = None,
    ) -> None:
        """Make what is known of a batch.

        Args:
            hidden: [B, d], the encoded histories.
            items: the student, or its scoring table [N + 1, d].
            buffers: those of all steps.
            target: int64 [B], the targets of the rows, if the objective may ask for robust terms.
            dros_temperature: that of robust terms, unless they are asked for at another.
            factors: type of the factors of the softmax's products over the catalogue
                (`bench.training.precision.factors`); that of `hidden` unless another is given.
            left_out: int64 [B, L], items that masses are not over, 0 is none; an item that is asked
                about, and the target, stay in its own. None leaves out no item.
        """
        self.hidden = hidden
        self._items = FixedTable(items) if isinstance(items, Tensor) else items
        self._buffers = buffers
        self._factors = hidden.dtype if factors is None else factors
        self._blocks: dict[torch.dtype, Tensor] = {}
        self._cast_keys: dict[torch.dtype, Tensor] = {}
        self._masses = 0
        self._left_out = left_out
        if left_out is not None and target is not None:
            self._left_out = left_out.masked_fill(left_out == target.unsqueeze(1), 0)
        self._robust = RobustTerms(target, self._left_out)
        self._dros_temperature = dros_temperature

    @cached_property
    def table(self) -> Tensor:
        """float32 [N + 1, d], the scoring table of this step."""
        return self._items.item_table()

    def scores(self, ids: Tensor) -> Tensor:
        """Differentiable logits [B, K] of chosen items `ids` [B, K]."""
        return torch.einsum("bd,bkd->bk", self._queries, self._items.keys_of(ids))

    def scores_of_all(self, ids: Tensor) -> Tensor:
        """Differentiable logits [B, K] of the same items `ids` [K] for every row."""
        return self._queries @ self._items.keys_of(ids).T

    def mean_score(self, shares: Tensor) -> Tensor:
        """Differentiable mean [B] of the logits, weighted by the `shares` [N + 1] of items."""
        return self._queries @ (shares @ self._keys)

    def log_probs(self, ids: Tensor) -> Tensor:
        """Differentiable log-softmax over the real items, [B, K], at `ids` [B, K]."""
        scores, normaliser = self.scores(ids), self._log_normaliser.unsqueeze(1)
        if self._left_out is not None:
            own = scores.masked_fill(~contains(self._left_out, ids), -torch.inf)
            normaliser = torch.logaddexp(normaliser, own)
        return scores - normaliser

    def log_rest(self, ids: Tensor) -> Tensor:
        """Differentiable log-sum-exp [B] of the logits of all real items not in `ids` [B, K]."""
        return self.log_mass(ids, Logit())

    def robust(
        self, targets: Tensor, exponents: Tensor, temperature: float | None = None
    ) -> Tensor:
        """See `bench.distillation.Output.robust`."""
        chosen = self._dros_temperature if temperature is None else temperature
        return self._robust.of(self, targets, exponents, chosen)

    @torch.no_grad()
    def top_k(self, k: int) -> Tensor:
        """Ids [B, min(k, N)] of the student's best items now, best first; no gradient."""
        block = self._score_block(self._factors)
        if self._left_out is not None:
            # Behind all others, and before padding, which is left out too.
            block = block.scatter(1, self._left_out, torch.finfo(block.dtype).min)
            block[:, 0].fill_(-torch.inf)
        return block.topk(min(k, block.shape[1] - 1), dim=1).indices

    @cached_property
    def logits(self) -> Tensor:
        """Differentiable logits [B, N + 1]; column 0 (padding) is -inf."""
        scores = self._queries @ self._keys.T
        scores[:, 0].fill_(-torch.inf)
        return scores

    @cached_property
    def _queries(self) -> Tensor:
        return self._items.queries(self.hidden)

    @cached_property
    def _keys(self) -> Tensor:
        return self._items.keys()

    @cached_property
    def _log_normaliser(self) -> Tensor:
        return self.log_mass(None, Logit())

    def log_mass(self, left_out: Tensor | None, energy: Energy) -> Tensor:
        """The mass log sum_i exp(f(s_i)) [B] of the items that are not among `left_out` [B, K]."""
        if self._left_out is not None:
            known = [self._left_out] if left_out is None else [self._left_out, left_out]
            left_out = torch.cat(known, dim=1)
        factors = self._queries.dtype if energy.is_exact else self._factors
        block = self._score_block(factors)
        spare = self._buffers.spare(f"mass {self._masses}", block)
        self._masses += 1
        mass: Tensor = LogMass.apply(  # type: ignore[no-untyped-call]
            self._queries, self._keys, block, spare, left_out, energy, self._cast_keys[factors]
        )
        return mass

    def _score_block(self, factors: torch.dtype) -> Tensor:
        """Scores [B, N + 1] in the type of their factors; those of padding are -inf."""
        if factors not in self._blocks:
            queries, keys = self._queries.detach().to(factors), self._keys.detach().to(factors)
            self._cast_keys[factors] = keys
            block = self._buffers.take("scores", len(queries), len(keys), queries)
            self._blocks[factors] = torch.mm(queries, keys.T, out=block)
            block[:, 0].fill_(-torch.inf)
        return self._blocks[factors]


class FixedTable:
    """Items that are scored by a table [N + 1, d] which is there."""

    def __init__(self, table: Tensor) -> None:
        self.table = table

    def item_table(self) -> Tensor:
        """See `Items`."""
        return self.table

    def queries(self, hidden: Tensor) -> Tensor:
        """See `Items`."""
        return hidden

    def keys(self) -> Tensor:
        """See `Items`."""
        return self.table

    def keys_of(self, ids: Tensor) -> Tensor:
        """See `Items`."""
        return F.embedding(ids, self.table)
