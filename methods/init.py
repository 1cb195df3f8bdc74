"""The item table starts at the teacher's embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat
from torch import Tensor

from bench.distillation import Knowledge, Method, MethodConfig, Stage, Student
from bench.distillation.spectrum import Spectrum
from bench.registry import register_method

POPULAR = 0.2
"""Share of the items, the most popular, on which `select: variance` measures."""


@register_method("init", needs={"embeddings"})
class Init(Method):
    r"""Start the student's item table at the teacher's embeddings, and train as usual.

    Jesse Harte et al., "Leveraging Large Language Models for Sequential Recommendation", RecSys
    2023 (LLM2SASRec, LLM2BERT4Rec: `pca`); "LLMInit", EMNLP 2025, arXiv 2503.01814 (`select`);
    "ACE", SIGIR 2026, arXiv 2605.29322 (`ace`).

    .. math::
        x_{ij} = c\, u_{ij} s_j / \sqrt{s_j^2 + \lambda}, \quad Z - \mu = U S V^T, \quad
        \lambda = \text{strength} \cdot \operatorname{mean}_{j \le d} s_j^2

    for the teacher's vectors Z of the N items, their mean :math:`\mu`, columns :math:`j \le d` and
    a factor c that gives the entries the standard deviation `scale`. :math:`\lambda = 0` is
    `whiten`, all directions equally strong; without the root it is `pca`. `select` takes columns
    of Z, `random` its product with Gaussian noise.

    Takes: `embeddings`, one vector z per item.

    Costs: one decomposition before training; nothing in a step or at inference.

    Departs: ACE's lambda is absolute (0 to 5,000) and its student of SASRec does not centre;
    LLMInit draws random columns with repetition. Components beyond a fourth of the items are not
    made stronger than they are: `whiten` and `ace` stop there. Columns that the teacher does not
    fill keep the student's own start, at the same scale. A scale other than the student's own may
    help by itself: `components: 0` with that `scale` is the student without the teacher.
    """

    class Config(MethodConfig):
        reducer: Literal["ace", "pca", "whiten", "select", "random"] = Field(
            "ace", description="how D dimensions become d"
        )
        strength: NonNegativeFloat = Field(1.0, description="of `ace`: 0 is whiten, large is pca")
        select: Literal["variance", "uniform", "random"] = Field(
            "variance", description="which columns of Z `select` takes"
        )
        components: NonNegativeInt | None = Field(
            None, description="columns that the teacher fills at most; null: all d"
        )
        scale: PositiveFloat | Literal["like"] = Field(
            "like", description="standard deviation of the table; like: that of the student's own"
        )
        normalise: Literal["none", "l2"] = Field("none", description="of the teacher's vectors")
        freeze_epochs: NonNegativeInt = Field(
            0, description="passes before the table itself is trained"
        )

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        assert knowledge.embeddings is not None  # noqa: S101 - guaranteed by `needs`
        offset, vectors = student.item_offset, knowledge.embeddings
        if self.config.normalise == "l2":
            vectors = F.normalize(vectors, dim=1)
        wanted = student.width if self.config.components is None else self.config.components
        columns = self._columns(vectors, min(wanted, student.width), knowledge.target_counts)
        with torch.no_grad():
            like = float(offset[1:].std())
            scale = like if self.config.scale == "like" else self.config.scale
            offset[1:] *= scale / like
            if count := columns.shape[1]:
                offset[1:, :count] = (columns * (scale / columns.std())).to(offset.dtype)
        self.derived |= {"components": count, "scale": scale}
        self.others = [p for p in student.parameters() if p is not offset]

    def stages(self) -> Sequence[Stage]:
        if not self.config.freeze_epochs:
            return (Stage(),)
        return Stage(trained=self.others, max_epochs=self.config.freeze_epochs), Stage()

    def _columns(self, vectors: Tensor, wanted: int, counts: Tensor) -> Tensor:
        """float64 [N, at most `wanted`] of the teacher's [N + 1, D], in no particular scale."""
        if self.config.reducer == "select":
            return vectors[1:, self._selected(vectors[1:], wanted, counts)].double()
        spectrum = Spectrum.of(vectors)
        self.derived = spectrum.facts(wanted)
        if self.config.reducer == "random":
            centred = spectrum.components @ spectrum.axes.T
            noise = torch.randn(centred.shape[1], wanted, dtype=torch.float64)  # on any device
            return centred @ noise.to(centred.device)
        if self.config.reducer == "pca":
            return spectrum.components[:, :wanted]
        kept = spectrum.to_whiten(wanted)
        self.derived = spectrum.facts(kept)
        columns = spectrum.whitened(kept)
        if self.config.reducer == "whiten" or not kept:
            return columns
        variances = spectrum.variances[:kept]
        return columns * (variances / (variances + self.config.strength * variances.mean())).sqrt()

    def _selected(self, vectors: Tensor, wanted: int, counts: Tensor) -> Tensor:
        """Which of the D columns are taken, int64 [min(wanted, D)]."""
        size = vectors.shape[1]
        count = min(wanted, size)
        if self.config.select == "random":
            return torch.randperm(size)[:count].to(vectors.device)
        if self.config.select == "uniform":
            return torch.arange(count, device=vectors.device) * (size // max(1, count))
        popular = counts[1:].topk(max(2, int(POPULAR * len(vectors)))).indices
        return vectors[popular].double().var(dim=0).topk(count).indices
