"""log sum_i exp(f(h . e_i)) of every row over a catalogue, with its gradient by hand.

Autograd's own chain sweeps the block [B, N + 1] about twice as often and allocates it anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor


class Energy(Protocol):
    """f, elementwise on scores."""

    def values(self, scores: Tensor, out: Tensor) -> Tensor:
        """f(scores) [B, N + 1]: `out`, or `scores` itself where f changes nothing."""

    def times_slope_(self, weights: Tensor, scores: Tensor) -> None:
        """Multiply `weights` [B, N + 1] by f'(scores), in place, but for what `scaled` does."""

    def scaled(self, table: Tensor) -> Tensor:
        """`table` [N + 1, d] times the part of f' that depends on the item alone."""


class Logit:
    """f(s) = s, the mass of a softmax."""

    def values(self, scores: Tensor, out: Tensor) -> Tensor:
        return scores

    def times_slope_(self, weights: Tensor, scores: Tensor) -> None:
        pass

    def scaled(self, table: Tensor) -> Tensor:
        return table


class Robust:
    """f_i(s) = c_i s^2, the energies of the distributionally robust term."""

    def __init__(self, coefficients: Tensor) -> None:
        """Args: coefficients: float32 [N + 1], c > 0; entry 0 (padding) is not read."""
        self.coefficients = coefficients

    def values(self, scores: Tensor, out: Tensor) -> Tensor:
        torch.mul(scores, scores, out=out).mul_(self.coefficients)
        out[:, 0].fill_(-torch.inf)
        return out

    def times_slope_(self, weights: Tensor, scores: Tensor) -> None:
        weights.mul_(scores)
        weights[:, 0].fill_(0.0)  # where 0 met the infinite score of padding

    def scaled(self, table: Tensor) -> Tensor:
        return table * (2 * self.coefficients).unsqueeze(1)


class LogMass(torch.autograd.Function):
    """log sum_i exp(f(s_i)) [B] over the items that are not left out, s = hidden @ table.T.

    One part of the rows after the other passes through `spare`. If they all fit, what the backward
    pass needs stays there; else it is computed again, so that a large batch needs no second block.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        table: Tensor,
        block: Tensor,
        spare: Tensor,
        left_out: Tensor | None,
        energy: Energy,
    ) -> Tensor:
        """Log of the mass, [B]; -inf where every item is left out.

        Args:
            ctx: keeps what `backward` needs.
            hidden: [B, d].
            table: [N + 1, d].
            block: [B, N + 1], hidden @ table.T with -inf in column 0; only read.
            spare: [B', N + 1], scratch memory that is this function's own if B' = B.
            left_out: int64 [B, K], ids that do not count; None leaves out no item.
            energy: f.
        """
        peaks, masses = [], []
        for rows in _parts(len(block), len(spare)):
            counted = _counted(
                block[rows], spare, None if left_out is None else left_out[rows], energy
            )
            peak = counted.amax(dim=1, keepdim=True).clamp(min=torch.finfo(block.dtype).min)
            part = torch.sub(counted, peak, out=spare[: len(counted)]).exp_()
            peaks.append(peak)
            masses.append(part.sum(dim=1, keepdim=True))
        peak, mass = torch.cat(peaks), torch.cat(masses)
        ctx.save_for_backward(hidden, table)
        ctx.block, ctx.spare, ctx.left_out, ctx.energy = block, spare, left_out, energy
        ctx.peak, ctx.mass = peak, mass
        if len(spare) == len(block):
            energy.times_slope_(spare, block)
        return (mass.log() + peak).squeeze(1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, table = ctx.saved_tensors
        # The gradient is exponentials / mass times the slope: what depends on the row or the item
        # alone scales the narrow sides, so that the wide block is only read. A row without any
        # mass has no gradient.
        scale = grads[0].unsqueeze(1) / ctx.mass.clamp(min=torch.finfo(hidden.dtype).tiny)
        scaled, items = hidden * scale, ctx.energy.scaled(table)
        if len(ctx.spare) == len(ctx.block):
            by_table = ctx.energy.scaled(ctx.spare.T @ scaled)
            return (ctx.spare @ items) * scale, by_table, *[None] * 4
        by_hidden, by_table = torch.empty_like(hidden), torch.zeros_like(table)
        for rows in _parts(len(ctx.block), len(ctx.spare)):
            scores = ctx.block[rows]
            left_out = None if ctx.left_out is None else ctx.left_out[rows]
            counted = _counted(scores, ctx.spare, left_out, ctx.energy)
            part = torch.sub(counted, ctx.peak[rows], out=ctx.spare[: len(counted)]).exp_()
            ctx.energy.times_slope_(part, scores)
            by_hidden[rows] = (part @ items) * scale[rows]
            by_table.addmm_(part.T, scaled[rows])
        return by_hidden, ctx.energy.scaled(by_table), *[None] * 4


def _counted(scores: Tensor, spare: Tensor, left_out: Tensor | None, energy: Energy) -> Tensor:
    """Energies of some rows, -inf at what is left out; `scores` stay as they are."""
    spare = spare[: len(scores)]
    values = energy.values(scores, spare)
    if left_out is None:
        return values
    if values is scores:
        values = spare.copy_(scores)
    return values.scatter_(1, left_out, -torch.inf)


def _parts(rows: int, size: int) -> Iterator[slice]:
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))
