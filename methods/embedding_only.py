"""Collaborative embedding distillation, the second half of DLLM2Rec."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from bench.registry import register_method
from methods.base import Knowledge, Method, MethodConfig, Student


@register_method("embedding-only", needs={"embeddings"})
class EmbeddingOnly(Method):
    r"""Add the projected teacher embedding to the student's own, item by item.

    Yu Cui et al., "Distillation Matters", RecSys 2024, Eqs 12-13:
    :math:`e_i = b_i + a\, g(z_i)` with a free offset :math:`b_i`, the teacher's embedding
    :math:`z_i` and a projector g that is trained with the student.

    Departures, each a setting: g is one linear layer as in the released program (the paper says
    MLP: `projector: mlp`); the sum is the item embedding on both sides of the tied table (the
    program: `inject: input`); z is standardised per dimension and divided by sqrt(D), so that text
    does not drown offsets that start at 0.02. Costs D d (linear) parameters in training and one
    projection of the table a step; folded away at inference.
    """

    class Config(MethodConfig):
        weight: NonNegativeFloat = Field(0.2, description="a, weight of the projected embedding")
        projector: Literal["linear", "mlp"] = "linear"
        inject: Literal["both", "input"] = "both"
        normalise: Literal["standardise", "l2", "none"] = "standardise"
        pca_dim: PositiveInt | None = Field(None, description="keep this many principal components")

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        assert knowledge.embeddings is not None  # noqa: S101 - guaranteed by `needs`
        vectors = knowledge.embeddings[1:]
        if self.config.pca_dim is not None:
            vectors = principal_components(vectors, self.config.pca_dim)
        self.teacher = normalised(vectors, self.config.normalise)
        self.projector = projector(self.config.projector, vectors.shape[1], student.width)
        self.projector.to(vectors.device)
        student.fuse(self.projected, output=self.config.inject == "both")

    def projected(self) -> Tensor:
        """float32 [N + 1, d], a g(z_i) for every item; row 0 is padding."""
        return nn.functional.pad(self.config.weight * self.projector(self.teacher), (0, 0, 1, 0))


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


def projector(kind: str, teacher_dim: int, student_dim: int) -> nn.Module:
    """g: teacher space [., D] to student space [., d]."""
    if kind == "linear":
        return nn.Linear(teacher_dim, student_dim)
    middle = max(1, min(256, teacher_dim // 4))
    return nn.Sequential(nn.Linear(teacher_dim, middle), nn.GELU(), nn.Linear(middle, student_dim))
