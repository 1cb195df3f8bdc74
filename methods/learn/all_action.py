"""Dense all-action loss: histories point at what their users did later (PinnerFormer, LEARN)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.distillation import Batch, TrainingRows
from bench.distillation.plackett_luce import log_mass


class Later:
    """The targets of a row's user from the row on."""

    def __init__(self, rows: TrainingRows) -> None:
        key = rows.user * (rows.ordinal.max() + 1) + rows.ordinal
        order = key.argsort()
        users = rows.user[order]
        self.target = rows.target[order]
        self.place = torch.empty_like(order)
        self.place[order] = torch.arange(len(order), device=order.device)
        # Of each row how many there are, itself included.
        self.count = torch.searchsorted(users, rows.user, right=True) - self.place

    def draw(self, batch: Batch, count: int) -> Tensor:
        """Targets int64 [B, count] of the batch's rows and their user's later ones, uniformly."""
        place, there = self.place[batch.row_id], self.count[batch.row_id]
        share = torch.rand(len(place), count, generator=batch.generator, device=place.device)
        step = (share * there.unsqueeze(1)).long()
        step = torch.minimum(step, there.unsqueeze(1) - 1)  # a share may round up to 1
        return self.target[place.unsqueeze(1) + step]


def all_action_loss(queries: Tensor, keys: Tensor, user: Tensor) -> Tensor:
    r"""The likelihood of every positive k of a row r, beside those of other users; a mean.

    .. math::
        -\log \frac{e^{u_r v_{rk}}}{e^{u_r v_{rk}} + \sum_{z} \sum_{k'} e^{u_r v_{zk'}}}

    averaged over r and k; the rows z are those of other users.

    Args:
        queries: float32 [B, d], u, already scaled.
        keys: float32 [B, n, d], v of the n positives of every row.
        user: int64 [B], whose rows they are.

    Returns:
        Scalar; 0 where the batch has one user.
    """
    n = keys.shape[1]
    others = (user.unsqueeze(1) != user).repeat_interleave(n, dim=1)
    rest = log_mass(queries @ keys.flatten(0, 1).T, others)
    own = torch.einsum("bd,bnd->bn", queries, keys)
    return F.softplus(rest.unsqueeze(1) - own).mean()
