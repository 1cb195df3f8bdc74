"""Caser (Tang & Wang, WSDM 2018), convolutions over the image of a history."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from bench.students.vectors import VectorReader, prepended, real


class Caser(VectorReader):
    """Prompts are the first rows of the image, which has one height whatever the history.

    It is made with room for them, where zeros stand until there are any.
    """

    def read(self, vectors: Tensor, length: Tensor, user: Tensor, prompts: Tensor | None) -> Tensor:
        """RecBole's own forward."""
        padding = ~real(length, vectors.shape[1])
        image = vectors.masked_fill(padding.unsqueeze(2), 0.0)
        if self.prompt_length:
            blank = vectors.new_zeros(self.prompt_length, self.width)
            image = prepended(blank if prompts is None else prompts, image)
        below = self.model.max_seq_length - image.shape[1]
        encoded: Tensor = self.model(user, F.pad(image, (0, 0, 0, below)))
        return encoded

    def penalty(self) -> Tensor:
        """RecBole's: `reg_weight` times unsquared L2 norms."""
        model = self.model
        weights = [
            model.user_embedding.weight,
            model.item_embedding.weight,
            model.conv_v.weight,
            model.fc1.weight,
            model.fc2.weight,
        ]
        penalty: Tensor = model.reg_weight * model.reg_loss(weights) + model.reg_loss_conv_h()
        return penalty

    @staticmethod
    def places(history: int, prompt_length: int) -> int:
        """See `Adapter.places`."""
        return history + prompt_length
