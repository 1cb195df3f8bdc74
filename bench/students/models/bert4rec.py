"""BERT4Rec (Sun et al., CIKM 2019), self-attention in both directions, read at a mask."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.students.adapter import Adapter
from bench.students.items import ItemTable


class MaskedItemTable(ItemTable):
    """An item table with a vector for the mask, which has the id N + 1 and is never scored."""

    def __init__(self, own: nn.Parameter, **rest: Any) -> None:
        """Args: own: float32 [N + 2, d], RecBole's table, the mask last."""
        super().__init__(nn.Parameter(own.detach()[:-1].clone()), **rest)
        self.mask = nn.Parameter(own.detach()[-1:].clone())

    def forward(self, ids: Tensor) -> Tensor:
        """Embeddings [..., d] of ids 0..N + 1; padding is zero and receives no gradient."""
        return F.embedding(ids, torch.cat([self.lookup, self.mask]), padding_idx=0)


class BERT4Rec(Adapter):
    """RecBole's forward over a history with a mask behind it.

    RecBole drops the oldest item to make room for the mask, of a short history too; here the model
    has a position more. Scores have a bias per item: the last number of its key.
    """

    table = MaskedItemTable

    def encode(self, history: Tensor, length: Tensor, user: Tensor | None) -> Tensor:
        """See `Adapter.encode`."""
        masked = F.pad(history, (0, 1)).scatter(1, length.unsqueeze(1), self.n_items + 1)
        hidden = self.model(masked)
        rows = torch.arange(len(history), device=history.device)
        return self.items.hidden(hidden[rows, length])

    def queries(self, hidden: Tensor) -> Tensor:
        """See `Adapter.queries`; the last number is 1."""
        return F.pad(hidden, (0, 1), value=1.0)

    def keys(self) -> Tensor:
        """See `Adapter.keys`; the last number is an item's bias."""
        return torch.cat([self.items.weight, self.model.output_bias.unsqueeze(1)], dim=1)

    def keys_of(self, ids: Tensor) -> Tensor:
        """See `Adapter.keys_of`."""
        bias = F.embedding(ids, self.model.output_bias.unsqueeze(1))
        return torch.cat([self.items.scoring(ids), bias], dim=-1)

    def export_state(self) -> dict[str, Tensor]:
        """See `Adapter.export_state`."""
        state = super().export_state()
        tables = state["item_embedding.weight"], state.pop("item_embedding.mask")
        return {**state, "item_embedding.weight": torch.cat(tables)}

    def import_state(self, state: dict[str, Tensor]) -> None:
        """See `Adapter.import_state`."""
        own = state["item_embedding.weight"]
        parts = {"item_embedding.weight": own[:-1], "item_embedding.mask": own[-1:]}
        super().import_state(state | parts)

    @staticmethod
    def places(history: int, prompt_length: int) -> int:
        """See `Adapter.places`."""
        return history + 1
