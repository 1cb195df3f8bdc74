"""A linear autoencoder of users' items that starts from what their texts say, in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat

from bench.baselines.ease import BLOCK, EASE, inverse_gram
from bench.baselines.interface import BaselineConfig, Floats, register_baseline
from bench.data.examples import Examples
from bench.errors import BenchError

if TYPE_CHECKING:
    from typing_extensions import Self


@register_baseline("l3ae")
class L3AE(EASE):
    """EASE whose weights stay near those by which texts explain each other (L3AE, CIKM 2025).

    "Language-model-based linear autoencoder", arXiv 2508.13500. With unit text vectors as the
    columns of F [D, N], consumption X [U, N] (see `ease`), and diag(C) = diag(B) = 0:

        C minimises |F - FC|^2 + text_l2 |C|^2
        B minimises |X - XB|^2 + l2 |B|^2 + prior |B - C|^2

    With P1 = (F^T F + text_l2 I)^-1 and P2 = (X^T X + (l2 + prior) I)^-1: C_ij = -P1_ij / P1_jj off
    the diagonal, and B = I + prior P2 C - P2 diag(m), m_j = (1 + prior (P2 C)_jj) / P2_jj. The
    score of item j is the sum of B_ij over the items i of the history. `prior` of 0 is EASE.

    P1 is never made: (text_l2 I_N + F^T F)^-1 = (I_N - K F) / text_l2 for K = F^T (text_l2 I_D +
    F F^T)^-1, so that C costs products with N x D matrices.
    """

    class Config(BaselineConfig):
        """Settings of L3AE."""

        l2: PositiveFloat = Field(500.0, description="weight of the L2 norm, as of ease")
        prior: NonNegativeFloat = Field(
            100.0,
            description="weight of what texts say: of 1 to 500, near the best on validation of "
            "Amazon Industrial",
        )
        text_l2: PositiveFloat = Field(1.0, description="weight of the L2 norm for texts")

    texts: Floats | None = None

    def read_texts(self, vectors: Floats) -> None:
        """Know unit vectors of the item texts, float32 [N, D], before fitting."""
        self.texts = vectors

    def fit(self, examples: Examples, n_items: int) -> Self:
        """Invert an N x N matrix.

        Raises:
            BenchError: it has no texts, does not fit in memory, or `l2` and `prior` are too small
                for single precision.
        """
        if self.texts is None:
            raise BenchError("l3ae: it was given no texts of items, which it reads")
        config, texts = self.config, self.texts.astype(np.float64)
        own = texts.T @ texts + config.text_l2 * np.eye(texts.shape[1])
        kernel = np.linalg.solve(own, texts.T).T
        scale = 1 / (1 - (kernel * texts).sum(axis=1))  # 1 / (text_l2 diag(P1))
        right = (texts * scale[:, None]).astype(np.float32)
        weights = inverse_gram("l3ae", examples, n_items, config.l2 + config.prior)
        left = weights @ kernel.astype(np.float32)
        # P2 C = P2 diag(1 - scale) + left right^T, of which m needs the diagonal.
        diagonal = weights.diagonal().astype(np.float64)
        mixed = diagonal * (1 - scale) + np.einsum("nd,nd->n", left, right, dtype=np.float64)
        m = (1 + config.prior * mixed) / diagonal
        weights *= (config.prior * (1 - scale) - m).astype(np.float32)
        for start in range(0, n_items, BLOCK):
            part = slice(start, start + BLOCK)
            weights[part] += config.prior * (left[part] @ right.T)
        weights[np.diag_indices(n_items)] = 0
        self.weights = weights
        return self
