"""Collaborative embedding distillation, the second half of DLLM2Rec."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator
from torch import Tensor, nn

from bench.distillation import Knowledge, Method, MethodConfig, Student
from bench.distillation.projectors import normalised, principal_components, projector
from bench.registry import register_method


@register_method("embedding-only", needs={"embeddings"})
class EmbeddingOnly(Method):
    r"""Add the projected teacher embedding to the student's own, item by item.

    Yu Cui et al., "Distillation Matters", RecSys 2024, Eqs 12-13:
    :math:`e_i = b_i + a\, g(z_i)` with a free offset :math:`b_i`, the teacher's embedding
    :math:`z_i` and a projector g that is trained with the student.

    Takes: `embeddings`, one vector z per item, standardised per dimension and divided by sqrt(D).

    Costs: D d + d parameters in training (linear), none at inference: the sum is folded into the
    item table. A step projects the items that it reads, 2 D d operations each: under ce and dros
    with `inject: both`, all N.

    Departs: from the paper, g is one linear layer as in the released program (MLP:
    `projector: mlp`). From the program, the sum is the item embedding on both sides of the tied
    table (`inject: input`), and z is rescaled so that text does not drown offsets that start at
    0.02 (`normalise: none`); its bias is not added at padding. The paper's ablation without
    :math:`b_i` is `offset: false`. Weight decay, where a trial has any, takes the bias too.
    `pca_dim` makes components first, which `standardise` then gives equal spread.
    """

    class Config(MethodConfig):
        weight: NonNegativeFloat = Field(0.2, description="a, weight of the projected embedding")
        projector: Literal["linear", "mlp"] = Field("linear", description="form of g")
        inject: Literal["both", "input"] = Field(
            "both", description="what gets the sum: the encoder and the scores, or the encoder"
        )
        normalise: Literal["standardise", "l2", "none"] = Field(
            "standardise", description="scale of z: per dimension, per item, or untouched"
        )
        pca_dim: PositiveInt | None = Field(None, description="keep this many principal components")
        offset: bool = Field(True, description="false drops b_i: an item is its projection alone")

        @model_validator(mode="after")
        def _the_head_has_a_table(self) -> EmbeddingOnly.Config:
            if not self.offset and self.inject == "input":
                raise ValueError("offset=false leaves nothing to score with: set inject=both")
            return self

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        assert knowledge.embeddings is not None  # noqa: S101 - guaranteed by `needs`
        vectors = knowledge.embeddings[1:]
        if self.config.pca_dim is not None:
            vectors = principal_components(vectors, self.config.pca_dim)
        self.teacher = nn.functional.pad(normalised(vectors, self.config.normalise), (0, 0, 1, 0))
        size = vectors.shape[1]
        hidden = max(1, min(256, size // 4))
        self.projector = projector(self.config.projector, size, student.width, hidden)
        if self.config.offset:
            student.fuse(self.projected, output=self.config.inject == "both")
        else:
            student.replace_items(lambda: self.projected(slice(None)))

    def projected(self, which: Tensor | slice) -> Tensor:
        """float32 [U, d], a g(z_i) of the items `which` [U] picks of the table [N + 1, D]."""
        return self.config.weight * self.projector(self.teacher[which])
