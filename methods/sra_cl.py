"""SRA-CL: contrast of histories that mean the same."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from bench.distillation import Batch, Knowledge, Output, Student
from bench.distillation.in_batch import views_loss
from bench.distillation.neighbours import (
    SimilarityConfig,
    SimilarityMethod,
    meanings,
    nearest,
    nearest_items,
)
from bench.distillation.sampling import gumbel_top_k
from bench.registry import register_method

SLOPE, GAIN, DROPPED = 0.2, 1.414, 0.5
"""Of the attention: LeakyReLU's slope, the gain of its start, the share of weights dropped."""


@register_method("sra-cl", needs={"embeddings"})
class SemanticContrast(SimilarityMethod):
    r"""Contrast a history with similar histories of others, and with itself after replacements.

    Ziqiang Cui et al., "Semantic Retrieval Augmented Contrastive Learning for Sequential
    Recommendation", NeurIPS 2025, arXiv 2503.04162.

    .. math::
        L = \alpha\, \ell(h_r, p_r) + \beta\, \ell(h_r', h_r''), \quad
        p_r = \sum_{s \in N(r)} w_{rs} h_s, \quad
        w_{rs} \propto e^{\mathrm{LeakyReLU}(a^T [W q_r;\, W q_s])}

    where :math:`\ell` is InfoNCE on dot products over the 2 B encoded histories of a batch, N(r)
    are rows of other users whose histories the teacher finds most similar, q are the teacher's
    vectors of histories, a and W trained, and :math:`h', h''` encode the history with a share
    `replace` of its items exchanged for one of the items that the teacher finds most similar.

    Takes: `embeddings`, one vector per item. A history's vector is the mean of its items',
    or the teacher's own (`similarity: histories`).

    Costs: D d + 2 d parameters in training, none at inference. Before training all rows are
    compared with all, R^2 D operations, and all items with all. A step encodes `neighbours` + 2
    histories more per row.

    Departs: `neighbours` of the `nearest` are drawn at each step, where the original encodes all
    10. Its rows leave out themselves alone, so that longer prefixes of the same user, which hold
    the row's target, are neighbours; rows of one user are never neighbours here. It may replace
    the last item as well (`keep_last: false`). Its texts of users are a language model's.
    """

    class Config(SimilarityConfig):
        between: NonNegativeFloat = Field(0.1, description="alpha, weight of similar histories")
        inside: NonNegativeFloat = Field(0.1, description="beta, weight of replaced items")
        nearest: PositiveInt = Field(10, description="similar rows, and similar items")
        neighbours: PositiveInt = Field(4, description="similar rows encoded in a step")
        replace: float = Field(0.2, ge=0.0, le=1.0, description="share of items replaced")
        keep_last: bool = Field(True, description="never replace the last item of a history")
        temperature: PositiveFloat = Field(1.0, description="divides the dot products")

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        assert knowledge.embeddings is not None  # noqa: S101 - guaranteed by `needs`
        assert knowledge.rows is not None  # noqa: S101 - there in every trial
        self.rows, self.encode = knowledge.rows, student.encode
        self.meaning = meanings(knowledge, self.config.similarity)
        self.similar = nearest(self.meaning, self.rows.user, self.config.nearest)
        self.similar_items = nearest_items(knowledge.embeddings, self.config.nearest)
        self.map = nn.Linear(self.meaning.shape[1], student.width, bias=False)
        self.attention = nn.Linear(2 * student.width, 1, bias=False)
        for layer in (self.map, self.attention):
            nn.init.xavier_uniform_(layer.weight, GAIN)

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        terms, config = {}, self.config
        if config.between:
            wanted = self.positives(batch)
            loss = views_loss(output.hidden, wanted, config.temperature)
            terms["between"] = config.between * loss
        if config.inside:
            first, second = (
                self.encode(self.replaced(batch), batch.length, batch.user) for _ in range(2)
            )
            terms["inside"] = config.inside * views_loss(first, second, config.temperature)
        return terms

    def positives(self, batch: Batch) -> Tensor:
        """Similar histories of every row as one, float32 [B, d]."""
        similar = self.similar[batch.row_id]
        even = torch.zeros_like(similar, dtype=self.meaning.dtype)
        rows = similar.gather(1, gumbel_top_k(even, self.config.neighbours, batch.generator))
        flat = rows.flatten()
        hidden = self.encode(self.rows.history[flat], self.rows.length[flat], self.rows.user[flat])
        weights = self.weights(batch.row_id, rows)
        kept = torch.rand(weights.shape, generator=batch.generator, device=weights.device)
        weights = weights * (kept >= DROPPED) / (1 - DROPPED)
        return torch.einsum("bn,bnd->bd", weights, hidden.unflatten(0, rows.shape))

    def weights(self, row_id: Tensor, rows: Tensor) -> Tensor:
        """Attention of the rows `row_id` [B] to their similar `rows` [B, n]; rows sum to 1."""
        own = self.map(self.meaning[row_id]).unsqueeze(1).expand(-1, rows.shape[1], -1)
        pairs = torch.cat([own, self.map(self.meaning[rows])], dim=2)
        scores = F.leaky_relu(self.attention(pairs)[:, :, 0], SLOPE)
        return F.softmax(scores, dim=1)

    def replaced(self, batch: Batch) -> Tensor:
        """The histories with some items exchanged for similar ones, int64 [B, L]."""
        history, draw = batch.history, batch.generator
        share = torch.rand(history.shape, generator=draw, device=history.device)
        chosen = (share < self.config.replace) & (history > 0)
        if self.config.keep_last:
            places = torch.arange(history.shape[1], device=history.device)
            chosen = chosen & (places != batch.length.unsqueeze(1) - 1)
        count = self.similar_items.shape[1]
        which = torch.randint(count, history.shape, generator=draw, device=history.device)
        similar = self.similar_items[history].gather(2, which.unsqueeze(2)).squeeze(2)
        return similar.where(chosen, history)
