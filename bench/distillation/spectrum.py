"""The principal components of a teacher's item vectors, as they are and made equally strong."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

_logger = logging.getLogger(__name__)

NOISE = 1e-6
"""Spread below this share of the vectors' length is rounding of float32."""

ITEMS_PER_COMPONENT = 4
"""Whitening N vectors in N dimensions makes them orthonormal: all equally unlike, so that nothing
is left but identity. Each component that is whitened has at least this many items."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    r"""Centred vectors in the axes of their covariance, :math:`C = V \Lambda V^T`.

    Float64, so that components of little variance are more than rounding. The sign of an axis is
    arbitrary and differs between libraries: its entry of largest magnitude is made positive.

    Attributes:
        components: [N, r], :math:`(Z - \mu) V`; r is the rank of the centred vectors.
        variances: [r], :math:`\Lambda`, descending.
        axes: [D, r], V, orthonormal columns.
    """

    components: Tensor
    variances: Tensor
    axes: Tensor

    @classmethod
    def of(cls, embeddings: Tensor, weights: Tensor | None = None) -> Spectrum:
        """The spectrum of item vectors.

        Args:
            embeddings: float [N + 1, D]; row 0 is padding and has no part in it.
            weights: float [N + 1], what each item counts in mean and covariance; None is 1 each.
        """
        vectors = embeddings[1:].double()
        shares = torch.ones_like(vectors[:, 0]) if weights is None else weights[1:].double()
        shares = shares / shares.sum()
        # As in the unbiased variance; all shares in one item would leave none.
        divisor = (1 - shares.square().sum()).clamp(min=NOISE)
        centred = vectors - shares @ vectors
        scaled = centred * (shares / divisor).sqrt().unsqueeze(1)
        _, values, axes = torch.linalg.svd(scaled, full_matrices=False)
        length = (shares @ vectors.square().sum(dim=1)).sqrt()
        axes = axes[: int((values > NOISE * length).sum())].T
        largest = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True))
        axes = axes * largest.sign()
        return cls(centred @ axes, values[: axes.shape[1]].square(), axes)

    @property
    def rank(self) -> int:
        """The dimensions r in which the vectors differ."""
        return len(self.variances)

    def to_whiten(self, wanted: int) -> int:
        """How many of `wanted` components may be whitened: r, and a fourth of the items at most.

        Says so in the log where the items are too few.
        """
        there = min(wanted, self.rank)
        most = max(1, len(self.components) // ITEMS_PER_COMPONENT)
        if there > most:
            _logger.warning(
                f"{len(self.components)} items are too few to whiten {there} components of their "
                f"vectors: the first {most} are kept"
            )
        return min(there, most)

    def whitened(self, count: int) -> Tensor:
        """The first `count` components at variance 1, [N, count]."""
        return self.components[:, :count] / self.variances[:count].sqrt()

    def zca(self, count: int) -> Tensor:
        """The whitened components turned back into the axes of the vectors, [N, D]."""
        return self.whitened(count) @ self.axes[:, :count].T

    def facts(self, count: int) -> dict[str, float]:
        r"""What a record says: the variance in the first `count` components, and how many count.

        The effective rank is :math:`e^H` for the entropy H of the shares of variance.
        """
        shares = self.variances / self.variances.sum()
        entropy = -torch.special.xlogy(shares, shares).sum()
        return {
            "explained_variance": float(shares[:count].sum()),
            "effective_rank": float(entropy.exp()),
        }
