"""Scores of the teacher, for methods that need more than an order."""

from __future__ import annotations

from torch import Tensor


def standardised_scores(distances: Tensor) -> Tensor:
    """Scores (mean - d) / (std + 1e-6) of the listed items, row by row.

    Distances themselves will not do: between language-model vectors they are in the tens, all
    about the same.

    Args:
        distances: float32 [B, K], smaller is surer.

    Returns:
        float32 [B, K] with mean 0 and standard deviation 1 in a row; zeros where all are equal.
    """
    mean = distances.mean(dim=1, keepdim=True)
    return (mean - distances) / (distances.std(dim=1, correction=0, keepdim=True) + 1e-6)
