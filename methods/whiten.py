"""Items known by their whitened text alone: WhitenRec, WhitenRec+ and UniSRec."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from bench.distillation import Knowledge, Method, MethodConfig, Student
from bench.distillation.projectors import normalised
from bench.distillation.spectrum import Spectrum
from bench.registry import register_method

EXPERTS = 8
"""Of UniSRec."""


@register_method("whiten", needs={"embeddings"})
class Whiten(Method):
    r"""Describe items by a trained adapter of their whitened teacher embeddings, without ids.

    "WhitenRec", ICDE 2024, arXiv 2402.10602; the experts are those of "UniSRec", KDD 2022.

    .. math::
        e_i = m(\hat z_i) + m(\hat z_i^{(G)}), \quad \hat Z = \sqrt{N - 1}\, U V^T, \quad
        Z - \mu = U S V^T

    for the teacher's vectors Z of the N items and an adapter m that is trained with the student:
    two layers (D, D / 2, d) with ReLU between. :math:`\hat Z^{(G)}` whitens each of G blocks of the
    D coordinates on its own, which keeps the correlations between them; G = 1 leaves this part
    out. Items without a training interaction get vectors like all others.

    Takes: `embeddings`, one vector z per item.

    Costs: D^2 / 2 + D d / 2 parameters in place of the ids' N d. Each step passes the catalogue
    through the adapter, twice with G > 1. Nothing at inference.

    Departs: at most a fourth of the items is the number of components that are whitened
    (`rank`). A released port loses the factor sqrt(N - 1), so that its inputs are smaller than the
    adapter's biases. UniSRec's `moe` is 8 linear experts, their sum weighted by a softmax gate that
    is noisy in training; they share one draw of dropout here. It scores by cosines at temperature
    0.07 (`unisrec`), and its transductive form adds ids.
    """

    class Config(MethodConfig):
        adapter: Literal["mlp", "linear", "moe"] = Field("mlp", description="m")
        transform: Literal["zca", "pca-whiten", "standardise", "none"] = Field(
            "zca", description="what the adapter reads"
        )
        groups: PositiveInt = Field(4, description="G of `zca`, must divide D")
        rank: PositiveInt | None = Field(None, description="components kept; null: all")
        ids: bool = Field(False, description="add the student's own item embeddings")
        dropout: float = Field(0.0, ge=0.0, lt=1.0, description="of what the adapter reads")
        temperature: PositiveFloat | None = Field(
            None, description="of cosine scores; null: dot products"
        )

        @model_validator(mode="after")
        def _groups_are_of_zca(self) -> Whiten.Config:
            if self.groups > 1 and self.transform != "zca":
                raise ValueError(f"transform={self.transform} has no groups: set groups=1")
            return self

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        assert knowledge.embeddings is not None  # noqa: S101 - guaranteed by `needs`
        self.inputs = [
            F.pad(self._transformed(knowledge.embeddings, groups), (0, 0, 1, 0)).float()
            for groups in sorted({1, self.config.groups})
        ]
        self.dropout = nn.Dropout(self.config.dropout)
        self.adapter = _adapter(self.config.adapter, self.inputs[0].shape[1], student.width)
        own = student.item_offset
        student.replace_items(lambda: self.text() + own if self.config.ids else self.text())
        own.requires_grad_(self.config.ids)
        if self.config.temperature is not None:
            student.score_by_cosine(1 / self.config.temperature)

    def text(self) -> Tensor:
        """What the adapter makes of the items, float32 [N + 1, d]."""
        return torch.stack([self.adapter(self.dropout(x)) for x in self.inputs]).sum(dim=0)

    def _transformed(self, embeddings: Tensor, groups: int) -> Tensor:
        """What the adapter reads of the items, [N, D'], from the teacher's [N + 1, D]."""
        if self.config.transform in ("none", "standardise"):
            return normalised(embeddings[1:], self.config.transform)
        size = embeddings.shape[1]
        if size % groups:
            raise ValueError(f"groups={groups} does not divide the {size} teacher dimensions")
        spectra = [Spectrum.of(block) for block in embeddings.split(size // groups, dim=1)]
        kept = [spectrum.to_whiten(self.config.rank or spectrum.rank) for spectrum in spectra]
        if groups == 1:
            self.derived = {"rank": kept[0], **spectra[0].facts(kept[0])}
        if self.config.transform == "pca-whiten":
            return spectra[0].whitened(kept[0])
        return torch.cat([s.zca(count) for s, count in zip(spectra, kept, strict=True)], dim=1)


class Mixture(nn.Module):
    """Linear experts whose outputs a gate weighs, noisily in training."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.experts = nn.Linear(size, EXPERTS * width)
        self.gate = nn.Linear(size, EXPERTS, bias=False)
        self.noise = nn.Linear(size, EXPERTS, bias=False)

    def forward(self, vectors: Tensor) -> Tensor:
        scores = self.gate(vectors)
        if self.training:
            scores = scores + torch.randn_like(scores) * F.softplus(self.noise(vectors))
        shares = F.softmax(scores, dim=1)
        return torch.einsum("ne,ned->nd", shares, self.experts(vectors).unflatten(1, (EXPERTS, -1)))


def _adapter(kind: str, size: int, width: int) -> nn.Module:
    if kind == "moe":
        return Mixture(size, width)
    if kind == "linear":
        return nn.Linear(size, width)
    middle = max(1, size // 2)
    return nn.Sequential(nn.Linear(size, middle), nn.ReLU(), nn.Linear(middle, width))
