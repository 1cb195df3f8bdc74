"""What stands between a teacher's embedding space and a student's: scaling, PCA, projectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def normalised(vectors: Tensor, how: str) -> Tensor:
    """Teacher embeddings [N, D] in a scale of order 1 / sqrt(D) per entry (`none`: untouched)."""
    if how == "none":
        return vectors
    if how == "l2":
        return nn.functional.normalize(vectors, dim=1)
    spread = vectors.std(dim=0).clamp(min=1e-6)
    return (vectors - vectors.mean(dim=0)) / spread / vectors.shape[1] ** 0.5


def principal_components(vectors: Tensor, size: int) -> Tensor:
    """The first `size` principal components of [N, D] vectors: [N, min(size, N, D)]."""
    centred = vectors - vectors.mean(dim=0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    return centred @ directions[:size].T


def projector(kind: str, teacher_dim: int, student_dim: int, hidden: int) -> nn.Module:
    """g: teacher space [., D] to student space [., d]; an `mlp` has `hidden` units between."""
    if kind == "linear":
        return nn.Linear(teacher_dim, student_dim)
    return nn.Sequential(nn.Linear(teacher_dim, hidden), nn.GELU(), nn.Linear(hidden, student_dim))
