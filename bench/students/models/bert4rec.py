"""BERT4Rec (Sun et al., CIKM 2019), self-attention in both directions, read at a mask."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import ConfigError
from bench.students import properties
from bench.students.adapter import Adapter
from bench.students.config import StudentConfig
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

    def __init__(self, config: StudentConfig, **world: Any) -> None:
        super().__init__(config, **world)
        known = properties.defaults("BERT4Rec") | config.parameters
        self.mask_ratio, self.last_share = float(known["mask_ratio"]), float(known["ft_ratio"])
        if not (0 < self.mask_ratio <= 1 and 0 <= self.last_share <= 1):
            raise ConfigError(
                f"student.mask_ratio={known['mask_ratio']}, student.ft_ratio={known['ft_ratio']}: "
                "allowed are 0 < mask_ratio <= 1 and 0 <= ft_ratio <= 1"
            )

    def encode(self, history: Tensor, length: Tensor, user: Tensor | None) -> Tensor:
        """See `Adapter.encode`."""
        masked = F.pad(history, (0, 1)).scatter(1, length.unsqueeze(1), self.n_items + 1)
        hidden = self.model(masked)
        rows = torch.arange(len(history), device=history.device)
        return self.items.hidden(hidden[rows, length])

    def cloze(
        self, history: Tensor, length: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Hide items of histories and targets at random, and encode where they were.

        Of n items, round(`mask_ratio` n) are hidden, at least one, as in the paper's own program.
        Draws are torch's global ones, as dropout's are.

        Args:
            history: int64 [B, L].
            length: int64 [B].
            target: int64 [B], the item behind each history.

        Returns:
            Of K places of each sequence, one after the other: encodings float32 [B * K, d], the
            items there int64 [B * K], and bool [B * K], whether an item is hidden there.
        """
        sequence = F.pad(history, (0, 1)).scatter(1, length.unsqueeze(1), target.unsqueeze(1))
        most = max(1, round(self.mask_ratio * sequence.shape[1]))
        draws = torch.rand(sequence.shape, device=sequence.device)
        place = draws.masked_fill(sequence == 0, 2.0).topk(most, dim=1, largest=False).indices
        count = (self.mask_ratio * (length + 1)).round().clamp(min=1)
        hides = torch.arange(most, device=sequence.device) < count.unsqueeze(1)
        ids = sequence.gather(1, place)
        masked = sequence.scatter(1, place, torch.where(hides, self.n_items + 1, ids))
        states = self.model(masked)
        hidden = states.gather(1, place.unsqueeze(2).expand(-1, -1, states.shape[2]))
        return self.items.hidden(hidden.flatten(0, 1)), ids.flatten(), hides.flatten()

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

    @torch.no_grad()
    def score_by_cosine(self, scale: float) -> None:
        """See `Adapter.score_by_cosine`; cosines have no bias."""
        super().score_by_cosine(scale)
        self.model.output_bias.requires_grad_(False).zero_()

    def fold(self) -> None:
        """See `Adapter.fold`."""
        super().fold()
        self.model.output_bias.requires_grad_(True)

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
