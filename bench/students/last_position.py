"""Encoders that evaluate the last layer only where it is read: same result, less work.

RecBole's SASRec runs its last transformer layer at all L positions and then gathers one. Here the
last layer has a single query per row. Equal to RecBole's own forward to float32 rounding
(dropout draws differ, their distribution does not).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def sasrec(model: Any, vectors: Tensor, length: Tensor, prompts: Tensor | None = None) -> Tensor:
    """Encode sequences of item vectors with RecBole's SASRec.

    Prompts come first and are visible to every item. They have no place, so that the items keep
    theirs: a table of positions trained without prompts stays valid.

    Args:
        model: a RecBole SASRec.
        vectors: float32 [B, L', d]; what lies at and beyond `length` is padding.
        length: int64 [B], 1..L'.
        prompts: float32 [k, d].

    Returns:
        float32 [B, d].
    """
    hidden = _placed(model, vectors, prompts)
    length = length if prompts is None else length + len(prompts)
    hidden, mask = _below_last_layer(model, hidden, real(length, hidden.size(1)))
    visible = mask[:, 0].gather(1, (length - 1).view(-1, 1, 1).expand(-1, 1, mask.size(-1)))
    query = model.gather_indexes(hidden, length - 1)
    return _last_layer(model.trm_encoder.layer[-1], hidden, query, visible)


def sasrec_at(model: Any, vectors: Tensor, place: Tensor, prompts: Tensor | None = None) -> Tensor:
    """The same encodings, of many prefixes of each sequence in one pass.

    Args:
        model: a RecBole SASRec.
        vectors: float32 [W, L', d].
        place: int64 [B], where the prefixes end, counted through all W * L' vectors.
        prompts: float32 [k, d].

    Returns:
        float32 [B, d].
    """
    hidden = _placed(model, vectors, prompts)
    everything = torch.ones(1, hidden.size(1), dtype=torch.bool, device=hidden.device)
    hidden, mask = _below_last_layer(model, hidden, everything)
    last = model.trm_encoder.layer[-1]
    mixed = last.multi_head_attention(hidden, mask)[:, -vectors.size(1) :]
    return _feed_forward(last, mixed.flatten(0, 1)[place])


def prepended(prompts: Tensor, vectors: Tensor) -> Tensor:
    """Prompts [k, d] before each of B sequences [B, L', d]: [B, k + L', d]."""
    return torch.cat([prompts.expand(len(vectors), -1, -1), vectors], dim=1)


def real(length: Tensor, size: int) -> Tensor:
    """Where sequences of `length` [B] have an item: bool [B, size], False at padding."""
    return torch.arange(size, device=length.device) < length.unsqueeze(1)


def _placed(model: Any, vectors: Tensor, prompts: Tensor | None) -> Tensor:
    """Vectors with their places in the sequence, prompts before them without."""
    hidden: Tensor = vectors + model.position_embedding.weight[: vectors.size(1)]
    return hidden if prompts is None else prepended(prompts, hidden)


def _below_last_layer(model: Any, hidden: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """What the last transformer layer reads, [B, L, d], and its additive mask [B or 1, 1, L, L].

    Args:
        model: a RecBole SASRec.
        hidden: float32 [B, L, d].
        real: bool [B or 1, L], False at padding.
    """
    hidden = model.dropout(model.LayerNorm(hidden))
    mask = model.get_attention_mask(real)
    for layer in model.trm_encoder.layer[:-1]:
        hidden = _feed_forward(layer, layer.multi_head_attention(hidden, mask))
    return hidden, mask


def _last_layer(layer: Any, hidden: Tensor, query: Tensor, mask: Tensor) -> Tensor:
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
    scores = q @ k / attention.sqrt_attention_head_size + mask.unsqueeze(1)
    context = attention.attn_dropout(F.softmax(scores, dim=-1)) @ v
    mixed = attention.out_dropout(attention.dense(context.reshape(rows, width)))
    return _feed_forward(layer, attention.LayerNorm(mixed + query))


def _feed_forward(layer: Any, hidden: Tensor) -> Tensor:
    """A RecBole FeedForward, its five-sweep GELU replaced by the fused kernel."""
    block = layer.feed_forward
    activation = block.intermediate_act_fn
    if activation == block.gelu:
        activation = F.gelu
    inner = block.dense_2(activation(block.dense_1(hidden)))
    return block.LayerNorm(block.dropout(inner) + hidden)


ENCODERS = {"SASRec": sasrec}
