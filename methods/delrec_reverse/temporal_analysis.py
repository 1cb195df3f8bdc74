"""DELRec's temporal analysis, asked of a student: which item stood between two others?"""

from __future__ import annotations

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor

from bench.distillation import Batch, Knowledge, MethodConfig, PromptedStudent
from bench.distillation.lists import coverage
from bench.distillation.losses import covered_mean

from .candidates import candidates, log_softmax_over, scores_of
from .prefixes import last_items, last_masked, previous_rows


class AnalysisConfig(MethodConfig):
    """Settings of the task."""

    weight: NonNegativeFloat = Field(0.5, description="weight of the temporal analysis")
    soft_share: float = Field(0.5, ge=0, le=1, description="mu, share of the teacher's soft target")
    rank_decay: PositiveFloat = Field(5.0, description="lambda_e, of ranks before the hidden item")
    temperature: PositiveFloat = Field(0.1, description="T_z, of closeness to the next item")


class Analysis:
    """Find the hidden last item of a history, given those before it and the next one."""

    def __init__(
        self,
        config: AnalysisConfig,
        listed: int,
        size: int,
        student: PromptedStudent,
        knowledge: Knowledge,
    ) -> None:
        """Args: listed: h, items read from a list. size: m, candidates of a row."""
        assert knowledge.rankings is not None  # noqa: S101 - guaranteed by `needs`
        assert knowledge.embeddings is not None  # noqa: S101 - guaranteed by `needs`
        assert knowledge.rows is not None  # noqa: S101 - there in every trial
        self.config, self.student, self.size = config, student, size
        self.lists = knowledge.rankings[:, :listed]
        previous = previous_rows(knowledge.rows).to(self.lists.device)
        self.previous = previous.clamp(min=0)
        self.covered = coverage(knowledge)[self.previous] & (previous >= 0)
        self.embeddings = knowledge.embeddings
        self.norms = self.embeddings.norm(dim=1).clamp(min=1e-12)

    def loss(self, batch: Batch, table: Tensor, mask: Tensor) -> Tensor:
        """(1 - mu) CE + mu KL, mean over rows of two items or more.

        Args:
            batch: the rows; one without a list before has the hard target only.
            table: float32 [N + 1, d], the scoring table.
            mask: float32 [d], read in place of the hidden item.
        """
        hidden = self.student.encode_vectors(*last_masked(batch, self.student, mask))
        ids, real = self.candidates(batch)
        log_p = log_softmax_over(scores_of(hidden, table, ids), real)
        log_q = log_softmax_over(self.expected(batch, ids), real)
        divergence = (log_q.exp() * (log_q - log_p) * real).sum(dim=1)
        share = self.config.soft_share * self.covered[batch.row_id]
        return covered_mean((1 - share) * -log_p[:, 0] + share * divergence, batch.length > 1)

    def candidates(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The hidden item first, the list before it, random items outside the history.

        Returns:
            ids int64 [B, m] and bool [B, m], as `candidates.candidates` says.
        """
        hidden, listed = last_items(batch), self._listed(batch)
        ids = torch.cat([hidden, listed], dim=1)
        usable = torch.cat([hidden > 0, (listed > 0) & (listed != hidden)], dim=1)
        return candidates(
            ids, usable, batch.history, self.student.n_items, self.size, batch.generator
        )

    def expected(self, batch: Batch, ids: Tensor) -> Tensor:
        """Logits [B, m] of the soft target: foreseen before, and close to what came next."""
        match = ids.unsqueeze(2) == self._listed(batch).unsqueeze(1)
        unlisted = ~match.any(dim=2)
        rank = match.int().argmax(dim=2).masked_fill(unlisted, match.shape[2])
        following = self.embeddings[batch.target]
        dot = (self.embeddings[ids] @ following.unsqueeze(2)).squeeze(2)
        cosine = dot / (self.norms[ids] * self.norms[batch.target].unsqueeze(1))
        return cosine / self.config.temperature - rank / self.config.rank_decay

    def _listed(self, batch: Batch) -> Tensor:
        """The list of the prefix before the hidden item [B, h]; zeros where there is none."""
        lists = self.lists[self.previous[batch.row_id]]
        return lists.masked_fill(~self.covered[batch.row_id].unsqueeze(1), 0)
