"""SASRec (Kang & McAuley, ICDM 2018), self-attention from left to right.

RecBole runs its last transformer layer at all L positions and then gathers one. Here the last layer
has a single query per row. Equal to RecBole's own forward to float32 rounding (dropout draws
differ, their distribution does not).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.students.vectors import VectorReader, prepended, real


class SASRec(VectorReader):
    """Prompts come first and are visible to every item.

    They have no place, so that the items keep theirs: a table of positions trained without prompts
    stays valid.
    """

    def read(self, vectors: Tensor, length: Tensor, user: Tensor, prompts: Tensor | None) -> Tensor:
        """See `VectorReader.read`."""
        hidden = self._placed(vectors, prompts)
        length = length if prompts is None else length + len(prompts)
        hidden, mask = self._below_last_layer(hidden, real(length, hidden.size(1)))
        visible = mask[:, 0].gather(1, (length - 1).view(-1, 1, 1).expand(-1, 1, mask.size(-1)))
        query = self.model.gather_indexes(hidden, length - 1)
        return _one_query(self.model.trm_encoder.layer[-1], hidden, query, visible)

    def encode_at(self, history: Tensor, place: Tensor) -> Tensor:
        """Encode many prefixes of each history in one pass; no position sees a later one.

        Args:
            history: int64 [W, L'], L' <= L.
            place: int64 [B], the positions where the prefixes end, counted through all W * L'.

        Returns:
            float32 [B, d], what `encode` makes of the prefixes.
        """
        vectors = self.items(history)
        hidden = self._placed(vectors, self.current_prompts())
        everything = torch.ones(1, hidden.size(1), dtype=torch.bool, device=hidden.device)
        hidden, mask = self._below_last_layer(hidden, everything)
        last = self.model.trm_encoder.layer[-1]
        mixed = last.multi_head_attention(hidden, mask)[:, -vectors.size(1) :]
        return self.items.hidden(_feed_forward(last, mixed.flatten(0, 1)[place]))

    def _placed(self, vectors: Tensor, prompts: Tensor | None) -> Tensor:
        """Vectors with their places in the sequence, prompts before them without."""
        hidden: Tensor = vectors + self.model.position_embedding.weight[: vectors.size(1)]
        return hidden if prompts is None else prepended(prompts, hidden)

    def _below_last_layer(self, hidden: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """What the last transformer layer reads, [B, L, d], and its additive mask.

        Args:
            hidden: float32 [B, L, d].
            real: bool [B or 1, L], False at padding.

        Returns:
            float32 [B, L, d] and [B or 1, 1, L, L].
        """
        hidden = self.model.dropout(self.model.LayerNorm(hidden))
        mask = self.model.get_attention_mask(real)
        for layer in self.model.trm_encoder.layer[:-1]:
            hidden = _feed_forward(layer, layer.multi_head_attention(hidden, mask))
        return hidden, mask


def _one_query(layer: Any, hidden: Tensor, query: Tensor, mask: Tensor) -> Tensor:
    """One transformer layer for one query per row.

    Args:
        layer: a RecBole TransformerLayer.
        hidden: float32 [B, L, d], keys and values.
        query: float32 [B, d], the position that is read.
        mask: float32 [B, 1, L], additive.
    """
    attention = layer.multi_head_attention
    rows, length, width = hidden.shape
    heads, size = attention.num_attention_heads, attention.attention_head_size
    q = attention.query(query).view(rows, heads, 1, size)
    k = attention.key(hidden).view(rows, length, heads, size).permute(0, 2, 3, 1)
    v = attention.value(hidden).view(rows, length, heads, size).transpose(1, 2)
    scores = RowProduct.of(q, k) / attention.sqrt_attention_head_size + mask.unsqueeze(1)
    context = RowProduct.of(attention.attn_dropout(F.softmax(scores, dim=-1)), v)
    mixed = attention.out_dropout(attention.dense(context.reshape(rows, width)))
    return _feed_forward(layer, attention.LayerNorm(mixed + query))


class RowProduct(torch.autograd.Function):
    """A row times a matrix, for many of both; the matrices have their gradient by broadcasting.

    Autograd's own is a batched product over a length of one, which takes seven times as long in
    float32. The bits are the same.
    """

    @staticmethod
    def of(row: Tensor, matrix: Tensor) -> Tensor:
        """[..., 1, K] times [..., K, M], [..., 1, M]."""
        if matrix.dtype != torch.float32:
            return row @ matrix
        product: Tensor = RowProduct.apply(row, matrix)  # type: ignore[no-untyped-call]
        return product

    @staticmethod
    def forward(ctx: Any, row: Tensor, matrix: Tensor) -> Tensor:
        ctx.save_for_backward(row, matrix)
        return row @ matrix

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        row, matrix = ctx.saved_tensors
        return grads[0] @ matrix.mT, row.mT * grads[0]


def _feed_forward(layer: Any, hidden: Tensor) -> Tensor:
    """A RecBole FeedForward, its five-sweep GELU replaced by the fused kernel."""
    block = layer.feed_forward
    activation = block.intermediate_act_fn
    if activation == block.gelu:
        activation = F.gelu
    inner = block.dense_2(activation(block.dense_1(hidden)))
    return block.LayerNorm(block.dropout(inner) + hidden)
