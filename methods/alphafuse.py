"""AlphaFuse: ids are learned where the language embedding has little to say."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from bench.distillation import Knowledge, Method, MethodConfig, Student
from bench.distillation.spectrum import Spectrum
from bench.registry import register_method


@register_method("alphafuse", needs={"embeddings"})
class AlphaFuse(Method):
    r"""Freeze whitened teacher embeddings, and train ids in their weakest dimensions.

    "AlphaFuse", SIGIR 2025, arXiv 2504.19218.

    .. math::
        e_i = W^T (z_i - \mu) + [0;\, a_i] \quad (\text{add}), \qquad
        e_i = [W^T (z_i - \mu);\, a_i] \quad (\text{clip}), \qquad
        W = V_{:, 1..m} \Lambda_{1..m}^{-1/2}

    for the teacher's vectors :math:`z_i` with mean :math:`\mu` and covariance
    :math:`V \Lambda V^T`, and trained ids :math:`a_i` in the last :math:`d_n` of the student's d
    dimensions; m = d for `add` and :math:`d - d_n` for `clip`. The sum is the item table, for
    reading and for scoring.

    Takes: `embeddings`, one vector z per item.

    Costs: N d_n parameters in place of the N d of the student's own ids; nothing in a step or at
    inference.

    Departs: the released program trains sampled InfoNCE on cosines at temperature 0.07 and ranks by
    dot products; here both are the trial's objective on the same scores, dot products or, with
    `scores: cosine`, cosines. Its default (`add`) puts ids on components of variance 1 each, no
    null space; the paper's text is `clip`. Where the vectors have fewer components than needed, or
    more than a fourth of the items, ids take the dimensions that are left. `start: student` starts
    the ids at the student's own columns; with `clip` and `null_fraction: 1` that is the student
    without a teacher.
    """

    class Config(MethodConfig):
        form: Literal["add", "clip"] = Field(
            "add", description="whether the teacher has all dimensions or those without ids"
        )
        null_fraction: float = Field(
            0.5, ge=0.0, le=1.0, description="d_n / d, the share of dimensions with ids"
        )
        start: Literal["normal", "zeros", "student"] = Field(
            "normal", description="of the ids: N(0, 1), 0 or the student's own"
        )
        scale: PositiveFloat = Field(1.0, description="factor of the whole table")
        popularity: bool = Field(False, description="weigh items of the covariance by their count")
        scores: Literal["dot", "cosine"] = Field("dot", description="how items are scored")
        temperature: PositiveFloat = Field(0.07, description="of `scores: cosine`")

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        assert knowledge.embeddings is not None  # noqa: S101 - guaranteed by `needs`
        config, width = self.config, student.width
        counts = knowledge.target_counts if config.popularity else None
        spectrum = Spectrum.of(knowledge.embeddings, counts)
        without_ids = width - round(config.null_fraction * width)
        kept = spectrum.to_whiten(width if config.form == "add" else without_ids)
        language = F.pad(spectrum.whitened(kept), (0, width - kept, 1, 0))
        self.language = language.to(student.item_offset.dtype)
        self.ids = nn.Parameter(self._start(student, width - min(kept, without_ids)))
        student.replace_items(self.items)
        if config.scores == "cosine":
            student.score_by_cosine(1 / config.temperature)
        self.derived = {"components": kept, "ids": self.ids.shape[1], **spectrum.facts(kept)}

    def items(self) -> Tensor:
        """The item table, float32 [N + 1, d]."""
        ids = F.pad(self.ids, (self.language.shape[1] - self.ids.shape[1], 0))
        return self.config.scale * (self.language + ids)

    def _start(self, student: Student, count: int) -> Tensor:
        own = student.item_offset.detach()[:, student.width - count :]
        if self.config.start == "student":
            return own.clone()
        return torch.randn_like(own) if self.config.start == "normal" else torch.zeros_like(own)
