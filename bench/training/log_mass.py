"""log sum_i exp(f(h . e_i)) of every row over a catalogue, with its gradient by hand.

Autograd's own chain sweeps the block [B, N + 1] about twice as often and allocates it anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

_SWEPT_BYTES, _CAST_ROWS = 3 * 2**20, 16
"""On a CPU, the first sweeps over a block take its rows in parts of this size, which stay near the
core from one to the next. A sum in float32 casts this many rows of bfloat16 at once."""


class Energy(Protocol):
    """f, elementwise on scores.

    Attributes:
        is_exact: scores are wanted in float32, whatever else training's products take.
    """

    is_exact: bool

    def values(self, scores: Tensor, out: Tensor) -> Tensor:
        """f(scores) [B, N + 1]: `out`, or `scores` itself where f changes nothing."""

    def times_slope_(self, weights: Tensor, scores: Tensor) -> None:
        """Multiply `weights` [B, N + 1] by f'(scores), in place, but for what `scaled` does."""

    def scaled(self, table: Tensor) -> Tensor:
        """`table` [N + 1, d] times the part of f' that depends on the item alone."""


class Logit:
    """f(s) = s, the mass of a softmax."""

    is_exact = False

    def values(self, scores: Tensor, out: Tensor) -> Tensor:
        return scores

    def times_slope_(self, weights: Tensor, scores: Tensor) -> None:
        pass

    def scaled(self, table: Tensor) -> Tensor:
        return table


class Robust:
    """f_i(s) = c_i s^2, the energies of the distributionally robust term.

    Squares of rounded scores would be off by whole units where scores are large.
    """

    is_exact = True

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

    The type of `block` is that of all factors over the catalogue. In bfloat16 products sum in
    float32 and are rounded once; sums of exponentials, the mass and both gradients are float32.
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
        factor: Tensor,
    ) -> Tensor:
        """Log of the mass, [B]; -inf where every item is left out.

        Args:
            ctx: keeps what `backward` needs.
            hidden: float32 [B, d].
            table: float32 [N + 1, d].
            block: float32 or bfloat16 [B, N + 1], hidden @ table.T with -inf in column 0; only
                read.
            spare: [B', N + 1] of the same type, scratch that is this function's own if B' = B.
            left_out: int64 [B, K], ids that do not count; None leaves out no item.
            energy: f.
            factor: `table` in the type of `block`.
        """
        peaks, masses, kept = [], [], len(spare) == len(block)
        for rows in _parts(len(block), min(len(spare), _swept_rows(block))):
            place = spare[rows] if kept else spare
            counted = _counted(
                block[rows], place, None if left_out is None else left_out[rows], energy
            )
            peak = counted.amax(dim=1, keepdim=True).clamp(min=torch.finfo(block.dtype).min)
            part = torch.sub(counted, peak, out=place[: len(counted)]).exp_()
            peaks.append(peak)
            masses.append(_row_sums(part, hidden.dtype))
        peak, mass = torch.cat(peaks), torch.cat(masses)
        ctx.save_for_backward(hidden, table, factor)
        ctx.block, ctx.spare, ctx.left_out, ctx.energy = block, spare, left_out, energy
        ctx.peak, ctx.mass = peak, mass
        if kept:
            energy.times_slope_(spare, block)
        return (mass.log() + peak.to(mass.dtype)).squeeze(1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, table, factor = ctx.saved_tensors
        # The gradient is exponentials / mass times the slope: what depends on the row or the item
        # alone scales the narrow sides, so that the wide block is only read. A row without any
        # mass has no gradient.
        scale = grads[0].unsqueeze(1) / ctx.mass.clamp(min=torch.finfo(hidden.dtype).tiny)
        factors = ctx.block.dtype
        scaled = (hidden * scale).to(factors)
        items = ctx.energy.scaled(table)
        items = factor if items is table else items.to(factors)
        if len(ctx.spare) == len(ctx.block):
            by_table = ctx.energy.scaled((ctx.spare.T @ scaled).to(table.dtype))
            return (ctx.spare @ items).to(hidden.dtype) * scale, by_table, *[None] * 5
        by_hidden, by_table = torch.empty_like(hidden), torch.zeros_like(table)
        for rows in _parts(len(ctx.block), len(ctx.spare)):
            scores = ctx.block[rows]
            left_out = None if ctx.left_out is None else ctx.left_out[rows]
            counted = _counted(scores, ctx.spare, left_out, ctx.energy)
            part = torch.sub(counted, ctx.peak[rows], out=ctx.spare[: len(counted)]).exp_()
            ctx.energy.times_slope_(part, scores)
            by_hidden[rows] = (part @ items).to(hidden.dtype) * scale[rows]
            _add_product(by_table, part.T, scaled[rows])
        return by_hidden, ctx.energy.scaled(by_table), *[None] * 5


def _counted(scores: Tensor, spare: Tensor, left_out: Tensor | None, energy: Energy) -> Tensor:
    """Energies of some rows, -inf at what is left out; `scores` stay as they are."""
    spare = spare[: len(scores)]
    values = energy.values(scores, spare)
    if left_out is None:
        return values
    if values is scores:
        values = spare.copy_(scores)
    return values.scatter_(1, left_out, -torch.inf)


def _row_sums(block: Tensor, dtype: torch.dtype) -> Tensor:
    """Sums of rows, [B, 1] of type `dtype`."""
    if block.dtype == dtype:
        return block.sum(dim=1, keepdim=True)
    # A sum in another type makes a copy of that type first: of few rows, it stays in the cache.
    parts = (block[rows] for rows in _parts(len(block), _CAST_ROWS))
    return torch.cat([part.sum(dim=1, keepdim=True, dtype=dtype) for part in parts])


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add the product of two matrices to `total`, in the type of that."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total.add_(left @ right)


def _swept_rows(block: Tensor) -> int:
    """Rows of a part that is swept at once; all where there is no such cache."""
    if block.device.type != "cpu":
        return len(block)
    return max(_CAST_ROWS, _SWEPT_BYTES // (block.stride(0) * block.element_size()))


def _parts(rows: int, size: int) -> Iterator[slice]:
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))
