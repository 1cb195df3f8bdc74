"""Two-tower networks, and that of the text teacher: content alone, and one block for histories."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional


class TwoTowers(nn.Module, ABC):
    """Items as points, histories as queries; a larger logit belongs to a smaller distance.

    Attributes:
        texts: float32 [N, T], what is known of the items; on the device of the parameters.
        distance: what the distance of a query and a point is, for manifests.
        origin: how what they stand on came about, for manifests.
    """

    texts: Tensor
    distance: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.origin: dict[str, Any] = {}

    @abstractmethod
    def items(self) -> Tensor:
        """Points z of all items, float32 [N, width]."""

    @abstractmethod
    def queries(self, points: Tensor, history: Tensor, length: Tensor) -> Tensor:
        """Queries q, float32 [B, width], of histories [B, L] (ids 1..N, padded right with 0).

        Args:
            points: what `items` returned, for towers that read histories as points.
            history: int64 [B, L].
            length: int64 [B], 1..L.
        """

    @abstractmethod
    def logits(self, points: Tensor, queries: Tensor) -> Tensor:
        """Logits [B, M] of M points, up to a constant of each row."""

    @torch.no_grad()
    def points(self) -> Tensor:
        """The points z without dropout and gradient; leaves the towers in evaluation mode."""
        self.eval()
        return self.items()

    def unit(self) -> float:
        """The length in which points and distances are measured outside."""
        return 1.0


class Towers(TwoTowers):
    """Scores items by the squared distance between a history's query and the item's point.

    The logit of item i is `-s * ||q - z_i||^2`. No item has a parameter of its own: z depends on
    the item's text alone, so an item that was never a target still has a meaningful place.

    The user tower is one causal transformer block whose output is read at the last item. Only
    that position is computed: the last item attends to the whole history.

    Args:
        texts: float32 [N, T], the frozen text vectors.
        length: L, the longest history.
        width, heads, feed_forward: sizes of z, q and of the block.
        dropout: rate in the item tower, on the inputs and inside the block.
    """

    distance = "L2 between query and item, in units of the items' RMS coordinate"

    def __init__(
        self, texts: Tensor, length: int, width: int, heads: int, feed_forward: int, dropout: float
    ) -> None:
        super().__init__()
        centred = texts - texts.mean(0)
        self.register_buffer("texts", centred / centred.std().clamp_min(1e-8))
        self.item_in = nn.Linear(texts.shape[1], width)
        self.item_out = nn.Linear(width, width)
        self.enter = nn.Linear(width, width)
        self.position = nn.Parameter(torch.randn(length, width) * 0.02)
        self.norm_in = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.attended = nn.Linear(width, width)
        self.norm_out = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, feed_forward), nn.GELU(), nn.Linear(feed_forward, width)
        )
        self.leave = nn.Linear(width, width)
        self.log_scale = nn.Parameter(torch.tensor(-3.0))
        self.dropout = nn.Dropout(dropout)
        self.heads = heads

    def items(self) -> Tensor:
        return self.item_out(self.dropout(functional.gelu(self.item_in(self.texts))))

    def queries(self, points: Tensor, history: Tensor, length: Tensor) -> Tensor:
        batch, width = len(history), points.shape[1]
        last = (length - 1).clamp_min(0)
        # Positions count back from the last item, so that "most recent" is the same place
        # whatever the history's length.
        index = torch.arange(history.shape[1], device=history.device)
        age = (last[:, None] - index).clamp_min(0)
        # `embedding` rather than indexing, whose gradient several threads add up in any order.
        seen = functional.embedding((history - 1).clamp_min(0), points)
        states = self.enter(seen) + functional.embedding(age, self.position)
        states = self.dropout(self.norm_in(states))
        end = states[torch.arange(batch, device=last.device), last]

        query = self.query(end).view(batch, self.heads, 1, width // self.heads)
        key_value = self.key_value(states).view(batch, -1, 2, self.heads, width // self.heads)
        key, value = key_value.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=(history > 0)[:, None, None, :]
        ).reshape(batch, width)
        state = end + self.dropout(self.attended(mixed))
        state = state + self.dropout(self.feed_forward(self.norm_out(state)))
        return self.leave(state)

    def logits(self, points: Tensor, queries: Tensor) -> Tensor:
        # Without `-s * ||q||^2`, a constant of each row that no softmax sees.
        scale = self.log_scale.exp()
        return functional.linear(2 * scale * queries, points, -scale * points.square().sum(1))

    def unit(self) -> float:
        """The root mean square of the points' coordinates."""
        return self.points().square().mean().sqrt().item()
