"""RecBole's BERT4Rec as a member of a teacher: bidirectional, read at a mask behind the history.

RecBole's adapter serves models that encode a history and score by their item table. BERT4Rec has
one row more in that table (the mask) and a bias per item.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.students.config import StudentConfig
from bench.students.recbole import RecBoleStudent


class Bert4Rec(RecBoleStudent):
    """Sun et al. (CIKM 2019), trained on next items alone.

    Of the Cloze task only the masked last position remains, the form in which the model is used:
    every prefix of a user is a row of its own.
    """

    models = ("BERT4Rec",)

    def __init__(self, config: StudentConfig, *, history: int, **rest: Any) -> None:
        super().__init__(config, history=history + 1, **rest)

    def encode(self, history: Tensor, length: Tensor, user: Tensor | None) -> Tensor:
        """Encode histories: int64 [B, L] and [B] to float32 [B, d + 1]; the last value is 1."""
        masked = F.pad(history, (0, 1)).scatter(1, length.unsqueeze(1), self.n_items + 1)
        hidden = self.model(masked)
        read = hidden[torch.arange(len(history), device=history.device), length]
        return F.pad(read, (0, 1), value=1.0)

    def item_table(self) -> Tensor:
        """float32 [N + 1, d + 1], the scoring table of this step; the last column is the bias."""
        return torch.cat([self.items.weight[:-1], self.model.output_bias.unsqueeze(1)], dim=1)

    def item_vectors(self, ids: Tensor) -> Tensor:
        """Rows `ids` [...] of the scoring table, float32 [..., d + 1]."""
        bias = F.embedding(ids, self.model.output_bias.unsqueeze(1))
        return torch.cat([self.items.scoring(ids), bias], dim=-1)
