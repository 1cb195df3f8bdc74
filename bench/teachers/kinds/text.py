"""Teacher kind `text`: a frozen sentence encoder under a content-only two-tower recommender.

It stands in for an LLM teacher where none is at hand: it knows what the items are called, which
an id-based student does not. Its lists and points come from `tower.Towers`, trained on exactly
the training rows and histories that the student sees.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from torch import Tensor
from torch.nn import functional

from bench.data.rows import PreparedData, Rows
from bench.errors import BenchError
from bench.evaluation.metrics import metrics_from_ranks
from bench.evaluation.ranking import target_ranks
from bench.teachers.build import TEXTS, Product, texts_hash
from bench.teachers.kinds.encoder import MINILM, encode
from bench.teachers.kinds.tower import Towers

Progress = Callable[[str], None]

WARM_UP_STEPS = 50
BLOCK = 1024
SELECT = "ndcg@20"


class TextOptions(BaseModel):
    """Options of the kind `text`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str = Field(MINILM, description="sentence encoder: name, local folder or hub name")
    width: PositiveInt = Field(128, description="size D of the item points and queries")
    heads: PositiveInt = Field(4, description="attention heads; divides the width")
    feed_forward: PositiveInt = Field(256, description="hidden size of the block's MLP")
    dropout: float = Field(0.2, ge=0, lt=1)
    learning_rate: PositiveFloat = Field(3e-3, description="peak; falls to 0 over the epochs")
    weight_decay: NonNegativeFloat = 0.01
    batch_size: PositiveInt = 512
    epochs: PositiveInt = Field(8, description="passes over the training rows, at most")
    patience: PositiveInt = Field(3, description="passes without a better validation NDCG@20")
    list_length: PositiveInt = Field(100, description="K_T, items listed per training row")
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> TextOptions:
        if self.width % self.heads:
            raise ValueError(f"'heads' ({self.heads}) must divide 'width' ({self.width})")
        return self


class TextTeacher:
    """Builder of the kind `text`."""

    Options: ClassVar[type[BaseModel]] = TextOptions

    @staticmethod
    def build(
        options: TextOptions, data: PreparedData, cache: Path, device: str, progress: Progress
    ) -> Product:
        """Encode the texts, train the towers on the training rows, write down what they know."""
        texts = torch.from_numpy(encode(data.item_texts, options.encoder, cache, progress, device))

        def validate(towers: Towers) -> float:
            return metrics_from_ranks(rank_targets(towers, data.valid))[SELECT]

        towers, history = train_towers(texts, data.train, options, validate, progress, device)
        points = towers.points()
        rms = points.square().mean().sqrt()
        rankings, distances, truth = ranked_lists(towers, data.train, options.list_length)
        in_top_ten = float((rankings[:, :10] == data.train.target[:, None]).any(1).mean())
        test_ranks = rank_targets(towers, data.test)
        return Product(
            embeddings=(points / rms).cpu().numpy(),
            rankings=rankings,
            distances=distances / np.float32(rms.item()),
            truth_distance=truth / np.float32(rms.item()),
            test_ranks=test_ranks,
            metrics={
                "valid": metrics_from_ranks(rank_targets(towers, data.valid)),
                "test": metrics_from_ranks(test_ranks),
            },
            recipe={
                TEXTS: texts_hash(data),
                "epochs_run": len(history),
                "best_epoch": int(np.argmax(history)) + 1,
                "validation_ndcg@20_by_epoch": [round(value, 5) for value in history],
                "share_of_training_targets_in_top_10": round(in_top_ten, 4),
                "list_policy": "the row's history is left out, its target is not",
                "distance": "L2 between query and item, in units of the items' RMS coordinate",
            },
            notes=[
                "The lists are in-sample: the towers were trained on the targets of the rows "
                f"they speak of ({in_top_ten:.1%} of these targets are in the row's top 10).",
                "It reads item texts, which the student does not; histories and rows are the "
                "student's own.",
            ],
        )


def train_towers(
    texts: Tensor,
    train: Rows,
    options: TextOptions,
    validate: Callable[[Towers], float],
    progress: Progress,
    device: str = "cpu",
) -> tuple[Towers, list[float]]:
    """Fit the towers by full-softmax cross entropy over the catalogue.

    Args:
        texts: float32 [N, T], frozen text vectors.
        train: the training rows, the only rows that are learned from.
        options: sizes and optimisation.
        validate: metric (larger is better) of the towers as they are; chooses the epoch.
        progress: takes one line of text at a time.
        device: name of the torch device to compute on.

    Returns:
        The towers of the best epoch, in evaluation mode, and the metric of every epoch run.

    Raises:
        BenchError: the loss became NaN or infinite.
    """
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)
        towers = Towers(
            texts,
            length=train.history.shape[1],
            width=options.width,
            heads=options.heads,
            feed_forward=options.feed_forward,
            dropout=options.dropout,
        ).to(device)
        optimiser = torch.optim.AdamW(
            towers.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        columns = [column.to(device) for column in _columns(train)]
        steps = -(-len(train) // options.batch_size)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, _warm_up_and_decay(steps * options.epochs)
        )
        history: list[float] = []
        best: dict[str, Any] = {}
        started = time.monotonic()
        for epoch in range(1, options.epochs + 1):
            loss = _one_epoch(towers, columns, optimiser, schedule, options.batch_size)
            if not np.isfinite(loss):
                raise BenchError(
                    f"teacher kind 'text': the loss became {loss} in epoch {epoch}; "
                    "lower its learning_rate"
                )
            history.append(validate(towers))
            if history[-1] == max(history):
                best = copy.deepcopy(towers.state_dict())
            left = (time.monotonic() - started) * (options.epochs / epoch - 1)
            progress(
                f"tower epoch {epoch} of {options.epochs}: loss {loss:.3f}, "
                f"validation NDCG@20 {history[-1]:.4f}, at most {left:.0f} s left"
            )
            if epoch - int(np.argmax(history)) > options.patience:
                break
        towers.load_state_dict(best)
    return towers.eval(), history


@torch.no_grad()
def rank_targets(towers: Towers, rows: Rows) -> NDArray[np.int32]:
    """Rank of each row's target over the catalogue, int32 [R]; ties count against the target."""
    ranks = []
    points, device = towers.points(), towers.texts.device
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        history, length, target = (column.to(device) for column in _columns(rows, part))
        logits = towers.logits(points, towers.queries(points, history, length))
        ranks.append(target_ranks(logits, target - 1).cpu())
    return torch.cat(ranks).numpy().astype(np.int32)


@torch.no_grad()
def ranked_lists(
    towers: Towers, rows: Rows, size: int
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """The items closest to each row's query, its history left out (but never its target).

    Args:
        towers: trained towers.
        rows: R rows.
        size: K_T; fewer where the catalogue is too small.

    Returns:
        Ids 1..N int32 [R, K_T], their L2 distances float32 [R, K_T] in ascending order, and the
        distance of each row's target float32 [R].
    """
    points, device = towers.points(), towers.texts.device
    size = min(size, len(points) - rows.history.shape[1])
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        history, length, target = (column.to(device) for column in _columns(rows, part))
        queries = towers.queries(points, history, length)
        logits = functional.pad(towers.logits(points, queries), (1, 0), value=-torch.inf)
        seen = torch.where(history == target[:, None], 0, history)
        closest = logits.scatter(1, seen, -torch.inf).topk(size).indices
        distance = (queries[:, None] - points[closest - 1]).norm(dim=2)
        # Rounding can order near ties otherwise in logits than in distances.
        distance, order = distance.sort(dim=1, stable=True)
        truth = (queries - points[target - 1]).norm(dim=1)
        parts.append((closest.gather(1, order).int().cpu(), distance.cpu(), truth.cpu()))
    ids, distances, truths = (torch.cat(column).numpy() for column in zip(*parts, strict=True))
    return ids, distances, truths


def _one_epoch(
    towers: Towers,
    columns: list[Tensor],
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    batch_size: int,
) -> float:
    towers.train()
    history, length, target = columns
    total = torch.zeros((), device=target.device)
    for batch in torch.randperm(len(target)).to(target.device).split(batch_size):
        points = towers.items()
        queries = towers.queries(points, history[batch], length[batch])
        loss = functional.cross_entropy(towers.logits(points, queries), target[batch] - 1)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(towers.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        total += loss.detach() * len(batch)
    towers.eval()
    return total.item() / len(target)


def _columns(rows: Rows, part: slice = slice(None)) -> list[Tensor]:
    return [
        torch.from_numpy(np.asarray(column[part], dtype=np.int64))
        for column in (rows.history, rows.length, rows.target)
    ]


def _warm_up_and_decay(steps: int) -> Callable[[int], float]:
    def factor(step: int) -> float:
        return min(1.0, (step + 1) / WARM_UP_STEPS) * (1 - step / steps)

    return factor
