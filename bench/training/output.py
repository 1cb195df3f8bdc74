"""What a student says about a batch, computed on demand and at most once."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class BlockBuffers:
    """Memory for two blocks [B, N + 1] that every step uses again.

    A fresh block of tens of megabytes a step costs page faults worth a large part of the step.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def take(self, name: str, rows: int, columns: int, like: Tensor) -> Tensor:
        """A float32 view [rows, columns] of buffer `name`, its content undefined."""
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < rows * columns or buffer.device != like.device:
            buffer = self._buffers[name] = like.new_empty(rows * columns)
        return buffer[: rows * columns].view(rows, columns)


class StepOutput:
    """Implements `methods.base.Output` for one training step."""

    def __init__(self, hidden: Tensor, table: Tensor, buffers: BlockBuffers) -> None:
        """Args: hidden: [B, d]. table: [N + 1, d]. buffers: memory shared by all steps."""
        self.hidden = hidden
        self.table = table
        self._buffers = buffers
        self._block: Tensor | None = None
        self._rests = 0

    def scores(self, ids: Tensor) -> Tensor:
        """Differentiable logits [B, K] of chosen items `ids` [B, K]."""
        return torch.einsum("bd,bkd->bk", self.hidden, F.embedding(ids, self.table))

    def log_probs(self, ids: Tensor) -> Tensor:
        """Differentiable log-softmax over the real items, [B, K], at `ids` [B, K]."""
        return self.scores(ids) - self._log_normaliser.unsqueeze(1)

    def log_rest(self, ids: Tensor) -> Tensor:
        """Differentiable log-sum-exp [B] of the logits of all real items not in `ids` [B, K]."""
        block = self._score_block()
        rows, columns = block.shape
        spare = self._buffers.take(f"rest {self._rests}", rows, columns, block)
        self._rests += 1
        rest: Tensor = _LogMass.apply(  # type: ignore[no-untyped-call]
            self.hidden, self.table, block, spare, ids
        )
        return rest

    @torch.no_grad()
    def top_k(self, k: int) -> Tensor:
        """Ids [B, min(k, N)] of the student's best items now, best first; no gradient."""
        block = self._score_block()
        return block.topk(min(k, block.shape[1] - 1), dim=1).indices

    @cached_property
    def logits(self) -> Tensor:
        """Differentiable logits [B, N + 1]; column 0 (padding) is -inf."""
        scores = self.hidden @ self.table.T
        scores[:, 0] = -torch.inf
        return scores

    @cached_property
    def _log_normaliser(self) -> Tensor:
        block = self._score_block()
        rows, columns = block.shape
        spare = self._buffers.take("probabilities", rows, columns, block)
        normaliser: Tensor = _LogMass.apply(  # type: ignore[no-untyped-call]
            self.hidden, self.table, block, spare, None
        )
        return normaliser

    def _score_block(self) -> Tensor:
        if self._block is None:
            hidden, table = self.hidden.detach(), self.table.detach()
            block = self._buffers.take("scores", len(hidden), len(table), hidden)
            self._block = torch.mm(hidden, table.T, out=block)
            self._block[:, 0] = -torch.inf
        return self._block


class _LogMass(torch.autograd.Function):
    """log sum_i exp(h . e_i) per row over the items that are not left out, gradient by hand.

    Autograd's own chain sweeps the [B, N + 1] block about twice as often and allocates it anew.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        table: Tensor,
        block: Tensor,
        spare: Tensor,
        left_out: Tensor | None,
    ) -> Tensor:
        counted = block
        if left_out is not None:
            # The block itself stays as it is for other readers.
            counted = spare.copy_(block).scatter_(1, left_out, -torch.inf)
        peak = counted.amax(dim=1, keepdim=True)
        torch.sub(counted, peak, out=spare).exp_()
        mass = spare.sum(dim=1, keepdim=True)
        ctx.save_for_backward(hidden, table)
        ctx.exponentials, ctx.mass = spare, mass
        return (mass.log() + peak).squeeze(1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, table = ctx.saved_tensors
        # d lse / d s = softmax(s) = exponentials / mass: rows are scaled on the narrow side, so
        # that the wide block is only read.
        scale = grads[0].unsqueeze(1) / ctx.mass
        exponentials = ctx.exponentials
        by_hidden = (exponentials @ table) * scale
        return by_hidden, exponentials.T @ (hidden * scale), None, None, None
