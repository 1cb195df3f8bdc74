"""A yardstick, not a method: DLLM2Rec's losses computed the way its released program works.

Written for this comparison from the equations (Yu Cui et al., RecSys 2024; DROS: Yang et al.,
SIGIR 2023). It computes exactly what the suite's `dllm2rec` computes under the settings of
`benchmarks.suite.official_code`, and a test holds the two together; what differs is how:

- negatives are drawn by `multinomial` from a dense [B, N] table of allowed items,
- the student's own ranking is a full `argsort`,
- the robust term is evaluated anew for every listed item, densely and in float64, because the
  popularity scores are,
- the encoder reads a dense [B, L, D] tensor of gathered text embeddings, projected as it is,
- RecBole's SASRec runs its last layer at all positions, under Adam without fused steps,
- evaluation sorts all items of all rows and looks at the lists row by row.

Two things are kinder here than in the program: batches come from resident tensors instead of a
sampled table, and evaluation keeps no gradients.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.distillation import Knowledge
from bench.training.config import TrainingConfig
from bench.training.rows import DeviceRows, shuffled
from benchmarks.case import Case
from benchmarks.dataset import Dataset
from benchmarks.suite import STUDENT, taught
from benchmarks.turns import seconds

CUTOFFS = (1, 5, 10, 20)
_EVALUATED = 1000
"""Rows whose scores are held at once; sorting them all together would take 5 GB."""


@dataclass(frozen=True)
class Settings:
    """The program's own defaults for Games and SASRec, under their names in the paper."""

    k: int = 10
    list_weight: float = 0.7
    robust_weight: float = 0.5
    text_weight: float = 0.3
    gamma: tuple[float, float, float] = (0.3, 0.5, 0.1)


class PlainDLLM2Rec(nn.Module):
    """A RecBole SASRec with DLLM2Rec's losses around it.

    Args:
        model: RecBole's SASRec.
        knowledge: embeddings [N + 1, D], rankings and distances [R, K_T], target counts.
        settings: weights of the terms.
    """

    def __init__(self, model: Any, knowledge: Knowledge, settings: Settings) -> None:
        super().__init__()
        known = (knowledge.embeddings, knowledge.rankings, knowledge.distances)
        embeddings, rankings, distances = known
        assert embeddings is not None and rankings is not None and distances is not None  # noqa: S101
        self.model, self.settings, k = model, settings, settings.k
        self.embeddings, self.lists = embeddings, rankings[:, :k]
        self.sureness = torch.exp(-distances[:, :k]) + 1e-8
        counts = knowledge.target_counts[1:].double() + 1.0
        self.popularity = (counts / counts.sum()) ** 0.05
        width = model.item_embedding.weight.shape[1]
        self.projector = nn.Linear(embeddings.shape[1], width).to(embeddings.device)

    def scores(self, history: Tensor, length: Tensor) -> Tensor:
        """Logits [B, N] of all items; `history` is [B, L]."""
        model = self.model
        text = self.projector(self.embeddings[history])
        vectors = model.item_embedding(history) + self.settings.text_weight * text
        vectors = vectors + model.position_embedding.weight[: history.shape[1]]
        vectors = model.dropout(model.LayerNorm(vectors))
        mask = model.get_attention_mask(history)
        layers = model.trm_encoder(vectors, mask, output_all_encoded_layers=True)
        hidden = model.gather_indexes(layers[-1], length - 1)
        return hidden @ model.item_embedding.weight[1:].T

    def loss(
        self, row_id: Tensor, history: Tensor, length: Tensor, target: Tensor, negative: Tensor
    ) -> Tensor:
        """The whole loss of B rows; ids are 1..N, `negative` [B] is the one of the base loss."""
        settings, scores = self.settings, self.scores(history, length)
        positive_score = _at(scores, target)
        negative_score = _at(scores, negative)
        both = torch.cat([positive_score, negative_score])
        wanted = torch.cat([torch.ones_like(positive_score), torch.zeros_like(negative_score)])
        loss = F.binary_cross_entropy_with_logits(both, wanted)
        loss = loss + settings.robust_weight * self.robust(scores, target).mean()

        items = self.lists[row_id]
        weights = self.weights(row_id, items, scores)
        for k in range(settings.k):
            listed = torch.log(torch.sigmoid(_at(scores, items[:, k])))
            pushed = torch.log(torch.sigmoid(1 - negative_score))
            loss = loss - settings.list_weight * (weights[:, k] * (listed + pushed)).mean()
        for k in range(settings.k):
            # [B, 1] by [B] is [B, B]: the weights of rows are lost, as in the program.
            robust = (weights[:, k : k + 1] * self.robust(scores, items[:, k])).mean()
            loss = loss + settings.list_weight * settings.robust_weight * robust
        return loss

    def robust(self, scores: Tensor, target: Tensor) -> Tensor:
        """float64 [B], log( sum_{i != y} exp(ps_i s_i^2) + exp(ps_y (s_y - 1)^2) )."""
        others = torch.exp(self.popularity * scores**2)
        own = torch.exp(self.popularity * (scores - 1) ** 2)
        return torch.log(others.sum(dim=1) - _at(others, target) + _at(own, target))

    @torch.no_grad()
    def weights(self, row_id: Tensor, items: Tensor, scores: Tensor) -> Tensor:
        """Weight [B, K] of every listed item; rows sum to 1."""
        rank = torch.arange(1, items.shape[1] + 1, device=items.device)
        position = torch.exp(-rank.float())
        sureness = self.sureness[row_id]
        own = scores.argsort(dim=1, descending=True)[:, : items.shape[1]] + 1
        shared = (items.unsqueeze(2) == own.unsqueeze(1)).any(dim=2).float() + 1e-8
        by_position, by_sureness, by_overlap = self.settings.gamma
        weights = (
            by_position * position / position.sum()
            + by_sureness * sureness / sureness.sum(dim=1, keepdim=True)
            + by_overlap * shared
        )
        return weights / weights.sum(dim=1, keepdim=True)


def sample_negatives(history: Tensor, target: Tensor, n_items: int) -> Tensor:
    """One item per row outside history and target, [B], ids 1..N, by a dense table."""
    allowed = torch.ones(len(history), n_items + 1, device=history.device)
    allowed[:, 0] = 0
    allowed.scatter_(1, history, 0.0)
    allowed.scatter_(1, target.unsqueeze(1), 0.0)
    return torch.multinomial(allowed, 1)[:, 0]


def hits_and_gains(scores: Tensor, target: Tensor) -> dict[str, float]:
    """Sums of HR@K and NDCG@K over the rows of `scores` [B, N]: all is sorted, then looked at."""
    order = (scores.argsort(dim=1, descending=True) + 1).tolist()
    targets = target.tolist()
    sums: dict[str, float] = {}
    for cutoff in CUTOFFS:
        hits, gain = 0.0, 0.0
        for ranked, wanted in zip(order, targets, strict=True):
            for place, item in enumerate(ranked[:cutoff]):
                if item == wanted:
                    hits += 1
                    gain += 1 / math.log2(place + 2)
        sums |= {f"hr@{cutoff}": hits, f"ndcg@{cutoff}": gain}
    return sums


class Training:
    """Steps on random batches."""

    def __init__(self, data: dict[str, str], batch: int, device: str, teacher: int) -> None:
        """Args: teacher: D of the random teacher, the same as the suite's."""
        self.device = torch.device(device)
        world = taught(Dataset(**data).load(), teacher, self.device)
        # As the suite's side is built, so that both train the same model.
        config = TrainingConfig(objective="dros")
        student = Case(STUDENT, "none", {}, 0, world, config, self.device).student
        self.n_items, self.rows = student.n_items, world.rows
        self.program = PlainDLLM2Rec(student.model, world.knowledge, Settings()).train()
        self.optimiser = torch.optim.Adam(self.program.parameters(), lr=1e-3)
        order = torch.Generator().manual_seed(0)
        passes = (shuffled(len(self.rows), batch, order, self.device) for _ in itertools.count())
        batches = itertools.chain.from_iterable(passes)
        self._batches = (each for each in batches if len(each) == batch)
        self._batch = batch

    def steps(self) -> int:
        """Steps of an epoch."""
        return math.ceil(len(self.rows) / self._batch)

    def run(self) -> float:
        """Seconds of one step."""
        row_id = next(self._batches)
        return seconds(lambda: self._step(row_id), self.device)

    def _step(self, row_id: Tensor) -> None:
        rows = self.rows
        history, target = rows.history[row_id], rows.target[row_id]
        negative = sample_negatives(history, target, self.n_items)
        loss = self.program.loss(row_id, history, rows.length[row_id], target, negative)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()


class Evaluation:
    """Full ranking of the test rows by sorting everything."""

    def __init__(self, data: dict[str, str], device: str) -> None:
        self.device = torch.device(device)
        loaded = Dataset(**data).load()
        world = taught(loaded, 1, self.device)
        student = Case(STUDENT, "none", {}, 0, world, TrainingConfig(), self.device).student
        self.rows = DeviceRows.of(loaded.test, self.device)
        self.program = PlainDLLM2Rec(student.model, world.knowledge, Settings()).eval()

    def count(self) -> int:
        """Rows that are ranked."""
        return len(self.rows)

    def run(self) -> float:
        """Seconds of one pass."""
        return seconds(self._evaluate, self.device)

    @torch.no_grad()
    def _evaluate(self) -> None:
        for start in range(0, len(self.rows), _EVALUATED):
            part = slice(start, start + _EVALUATED)
            scores = self.program.scores(self.rows.history[part], self.rows.length[part])
            hits_and_gains(scores, self.rows.target[part])


def _at(values: Tensor, ids: Tensor) -> Tensor:
    """Column of item `ids` [B] in `values` [B, N], whose columns are items 1..N."""
    return values.gather(1, ids.unsqueeze(1) - 1)[:, 0]
