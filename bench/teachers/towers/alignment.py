"""LEARN's preference alignment: one small causal transformer for histories and single items."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.distillation.in_batch import candidates
from bench.distillation.projectors import normalised
from bench.teachers.towers.tower import TwoTowers


class PreferenceAlignment(TwoTowers):
    r"""Scores items by the cosine of a history's vector and the item's own.

    Jia et al., "LEARN: Knowledge Adaptation from Large Language Model to Recommendation for
    Practical Industrial Application", AAAI 2025:

    .. math::
        s_{r,i} = \kappa \cos(u_r, v_i), \quad u_r = f(z_{x_1}, \dots, z_{x_t}),
        \quad v_i = f(z_i)

    f: a linear layer, causal transformer blocks without positions (normalised behind each part, as
    in BERT) and a linear layer, read at the last item. Items and histories share it. All vectors
    have the length 1, so a distance is :math:`\sqrt{2 - 2 \cos}`.

    Args:
        texts: float32 [N, T], the frozen text vectors.
        normalise: `standardise` (per dimension) or `l2`, as in the paper.
        width, layers, heads: of the transformer; `heads` divides `width`.
        out_width: size of u and v.
        dropout: rate on the inputs and inside the blocks.
        scale: kappa.
    """

    distance = "sqrt(2 - 2 cos) of history and item"

    def __init__(
        self,
        texts: Tensor,
        normalise: str,
        width: int,
        layers: int,
        heads: int,
        out_width: int,
        dropout: float,
        scale: float,
    ) -> None:
        super().__init__()
        vectors = normalised(texts, normalise)
        self.register_buffer("texts", vectors / vectors.square().mean().sqrt().clamp_min(1e-8))
        self.enter = nn.Linear(texts.shape[1], width)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(_Block(width, heads, dropout) for _ in range(layers))
        self.leave = nn.Linear(width, out_width)
        self.dropout = nn.Dropout(dropout)
        self.scale = scale

    def items(self) -> Tensor:
        return self.items_of(torch.arange(1, len(self.texts) + 1, device=self.texts.device))

    def items_of(self, ids: Tensor) -> Tensor:
        """Points of some items, float32 [M, out_width], of ids [M] counted from 1."""
        return self._read(ids.unsqueeze(1), torch.ones_like(ids))

    def queries(self, points: Tensor, history: Tensor, length: Tensor) -> Tensor:
        return self._read(history, length)

    def logits(self, points: Tensor, queries: Tensor) -> Tensor:
        return functional.linear(self.scale * queries, points)

    def _read(self, history: Tensor, length: Tensor) -> Tensor:
        last = length - 1
        seen = functional.embedding((history - 1).clamp_min(0), self.texts)
        states = self.dropout(self.norm(self.enter(seen)))
        place = torch.arange(history.shape[1], device=history.device)
        causal = place[:, None] >= place
        for block in self.blocks[:-1]:
            states = block(states, states, causal)
        # Of the last block one position is read: the others are not computed.
        end = states[torch.arange(len(history), device=last.device), last].unsqueeze(1)
        end = self.blocks[-1](end, states, (place <= last[:, None])[:, None, None])
        return functional.normalize(self.leave(end.squeeze(1)), dim=1)


class _Block(nn.Module):
    """Attention and a two-layer network, each added to its input and normalised."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.attended = nn.Linear(width, width)
        self.norm_attended = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.norm_out = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, asking: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        """Positions [B, Q, d] read the positions [B, L, d] that `mask` allows them, [..., Q, L]."""
        mixed = self.value(states)
        if states.shape[1] > 1:  # of a single item, attention is the item itself
            query, key, value = (
                part.unflatten(2, (self.heads, -1)).transpose(1, 2)
                for part in (self.query(asking), self.key(states), mixed)
            )
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
            mixed = mixed.transpose(1, 2).flatten(2)
        state = self.norm_attended(asking + self.dropout(self.attended(mixed)))
        out: Tensor = self.norm_out(state + self.dropout(self.feed_forward(state)))
        return out


def in_batch(towers: TwoTowers, history: Tensor, length: Tensor, target: Tensor) -> Tensor:
    """Mean cross entropy of the targets among those of the batch, each once and none of the past.

    The loss of LEARN's pre-training; items that no row of the batch aims at are not computed.
    """
    assert isinstance(towers, PreferenceAlignment)  # noqa: S101 - the loss is for them
    keys = towers.items_of(target)
    logits = towers.logits(keys, towers.queries(keys, history, length))
    logits = logits.masked_fill(~candidates(target, history), -torch.inf)
    return functional.cross_entropy(logits, torch.arange(len(target), device=target.device))
