"""Pairs of ranks, better ones more often."""

from __future__ import annotations

import torch
from torch import Tensor


class RankPairs:
    r"""Draws two different ranks a < b of a list, :math:`P(a, b) \propto e^{-(a + b) / T}`.

    That is the law of two independent draws, each :math:`\propto e^{-rank / T}`, given that they
    differ; nothing is drawn twice.
    """

    def __init__(self, longest: int, decay: float, device: torch.device) -> None:
        """Args: longest: of the lists to draw from, >= 2. decay: T, in ranks."""
        self.longest, self.decay = longest, decay
        size = torch.arange(longest + 1, dtype=torch.float64, device=device).unsqueeze(1)
        rank = torch.arange(longest, dtype=torch.float64, device=device)
        # Mass of the better rank a: e^{-2a / T} times that of the ranks behind it.
        behind = (size - 1 - rank).clamp(min=0)
        mass = torch.exp(-2 * rank / decay) * -torch.expm1(-behind / decay)
        share = mass.cumsum(dim=1) / mass.sum(dim=1, keepdim=True).clamp(min=1e-300)
        # One ascending table for lists of every size: that of size n lies between n and n + 1.
        self.table = (size + share).flatten()

    def draw(self, size: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """One pair for every entry of `size`, int64 [...], lengths of lists in 2..longest.

        Returns:
            The better and the worse rank, int64 [...], counted from 0.
        """
        uniform = torch.rand(
            2, *size.shape, generator=generator, device=size.device, dtype=torch.float64
        )
        better = torch.searchsorted(self.table, size + uniform[0], right=True)
        better = (better - size * self.longest).clamp(min=0).minimum(size - 2)
        behind = size - 1 - better
        # Inverse of a geometric distribution that is cut off behind the end of the list.
        step = torch.log1p(uniform[1] * torch.expm1(-behind / self.decay)) * -self.decay
        return better, better + 1 + step.long().minimum(behind - 1)


def shared_out(shares: Tensor, count: int) -> Tensor:
    """Which of G parts each of `count` places goes to, in proportion to `shares`.

    Args:
        shares: float [B, G], not necessarily normalised; a part of 0 gets nothing.
        count: number of places.

    Returns:
        int64 [B, count], ascending; G - 1 throughout where all shares are 0.
    """
    middle = (torch.arange(count, device=shares.device) + 0.5) / count
    edges = shares.cumsum(dim=1) / shares.sum(dim=1, keepdim=True).clamp(min=1e-30)
    places = torch.searchsorted(edges, middle.expand(len(shares), -1).contiguous(), right=True)
    return places.clamp(max=shares.shape[1] - 1)
