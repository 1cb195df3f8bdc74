"""How two towers are trained: what the kinds that read item texts have in common."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

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
)
from torch import Tensor
from torch.nn import functional

from bench.data.examples import Examples
from bench.errors import BenchError
from bench.progress import track
from bench.teachers.recommenders.members import first_to_reach
from bench.teachers.towers.tower import TwoTowers
from bench.training.rows import DeviceRows

_logger = logging.getLogger(__name__)

Loss = Callable[[TwoTowers, Tensor, Tensor, Tensor], Tensor]
"""A scalar of the towers, a batch's histories [B, L], their lengths [B] and its targets [B]."""

WARM_UP_STEPS = 50
SELECT = "ndcg@20"


class FitOptions(BaseModel):
    """How towers are trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dropout: float = Field(0.2, ge=0, lt=1)
    learning_rate: PositiveFloat = Field(3e-3, description="peak; falls to 0 over the epochs")
    weight_decay: NonNegativeFloat = 0.01
    batch_size: PositiveInt = 512
    epochs: PositiveInt = Field(8, description="passes over the training rows, at most")
    patience: PositiveInt = Field(3, description="passes without a better validation NDCG@20")
    seed: NonNegativeInt = 0


class Fitted:
    """Towers and the course of their training; a `Member` that an ensemble can have.

    Only epochs that were better than all before are kept.

    Attributes:
        towers: in the best state, until another one is loaded.
        values: the metric of every epoch run.
    """

    def __init__(self, name: str, towers: TwoTowers) -> None:
        self.name, self.towers = name, towers
        self.values: list[float] = []
        self._saved: list[list[Tensor]] = []
        self._epochs: list[int] = []
        self._points: Tensor | None = None

    @property
    def states(self) -> list[int]:
        """The saved states of a trajectory, see `Member`."""
        return [self._epochs.index(epoch) for epoch in first_to_reach(self.values)]

    @property
    def story(self) -> dict[str, Any]:
        """How it was made, for the manifest."""
        return {
            "epochs_run": len(self.values),
            "best_epoch": int(np.argmax(self.values)) + 1,
            "validation_ndcg@20_by_epoch": [round(value, 5) for value in self.values],
        }

    def add(self, value: float) -> None:
        """One more epoch is over, and its metric is `value`."""
        self.values.append(value)
        if value > max(self.values[:-1], default=-np.inf):
            self._epochs.append(len(self.values))
            self._saved.append([p.detach().clone() for p in self.towers.parameters()])

    @torch.no_grad()
    def load(self, state: int) -> None:
        """Return to a saved state."""
        for parameter, value in zip(self.towers.parameters(), self._saved[state], strict=True):
            parameter.copy_(value)
        self._points = None
        self.towers.eval()

    @torch.no_grad()
    def scores(self, history: Tensor, length: Tensor, user: Tensor) -> Tensor:
        """Logits float32 [B, N] of histories; column i - 1 is item i."""
        if self._points is None:
            self._points = self.towers.points()
        return self.towers.logits(self._points, self.towers.queries(self._points, history, length))

    def item_vectors(self) -> NDArray[np.float32]:
        """The points of the items as a teacher exports them, float32 [N, D]."""
        return (self.towers.points() / self.towers.unit()).cpu().numpy()


def fit(
    fitted: Fitted,
    loss: Loss,
    train: Examples,
    options: FitOptions,
    validate: Callable[[TwoTowers], float],
) -> Fitted:
    """Train towers, from the state they are in, and return to their best state.

    Args:
        fitted: the towers, on their device; what went before counts as earlier epochs.
        loss: what is made small.
        train: the training rows, the only rows that are learned from.
        options: optimisation; random numbers are torch's own and not seeded here.
        validate: metric (larger is better) of the towers as they are; chooses the epoch.

    Returns:
        `fitted`, in evaluation mode.

    Raises:
        BenchError: the loss became NaN or infinite.
    """
    towers, device = fitted.towers, fitted.towers.texts.device
    optimiser = torch.optim.AdamW(
        towers.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
    )
    rows = DeviceRows.of(train, device)
    steps = -(-len(train) // options.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, _warm_up_and_decay(steps * options.epochs)
    )
    started, before = time.monotonic(), len(fitted.values)
    with track("towers", options.epochs, "epochs", logged=False) as advance:
        for epoch in range(1, options.epochs + 1):
            mean = _one_epoch(towers, loss, rows, optimiser, schedule, options.batch_size)
            if not np.isfinite(mean):
                raise BenchError(
                    f"the teacher's towers: the loss became {mean} in epoch {epoch}; "
                    "lower the teacher's learning_rate"
                )
            fitted.add(validate(towers))
            advance(1)
            left = (time.monotonic() - started) * (options.epochs / epoch - 1)
            _logger.debug(
                f"tower epoch {epoch} of {options.epochs}: loss {mean:.3f}, "
                f"validation NDCG@20 {fitted.values[-1]:.4f}, at most {left:.0f} s left"
            )
            if epoch - 1 - int(np.argmax(fitted.values[before:])) >= options.patience:
                break
    fitted.load(fitted.states[-1])
    return fitted


def full_softmax(
    towers: TwoTowers,
    history: Tensor,
    length: Tensor,
    target: Tensor,
    over: NDArray[np.int64] | None = None,
) -> Tensor:
    """Mean cross entropy of the targets.

    Args:
        towers: what is trained.
        history: int64 [B, L].
        length: int64 [B].
        target: int64 [B], 1..N.
        over: places 0..N-1, ascending, of the items that compete, targets among them; None: all.
    """
    points = towers.items()
    queries = towers.queries(points, history, length)
    if over is None:
        return functional.cross_entropy(towers.logits(points, queries), target - 1)
    chosen = torch.from_numpy(over).to(target.device)
    logits = towers.logits(points[chosen], queries)
    return functional.cross_entropy(logits, torch.searchsorted(chosen, target - 1))


def _one_epoch(
    towers: TwoTowers,
    loss: Loss,
    rows: DeviceRows,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    batch_size: int,
) -> float:
    towers.train()
    device = rows.target.device
    total = torch.zeros((), device=device)
    for batch in torch.randperm(len(rows)).to(device).split(batch_size):
        value = loss(towers, rows.history[batch], rows.length[batch], rows.target[batch])
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(towers.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        total += value.detach() * len(batch)
    towers.eval()
    return total.item() / len(rows)


def _warm_up_and_decay(steps: int) -> Callable[[int], float]:
    def factor(step: int) -> float:
        return min(1.0, (step + 1) / WARM_UP_STEPS) * (1 - step / steps)

    return factor
