"""The training loop: one for every student, method, objective and device."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bench.errors import Diverged
from bench.training.negatives import sample_negatives
from bench.training.objectives import NEEDS_NEGATIVE, make_objective
from bench.training.output import BlockBuffers, StepOutput
from bench.training.rows import DeviceRows, shuffled
from methods.base import Batch

if TYPE_CHECKING:
    from bench.students.recbole import RecBoleStudent
    from bench.training.config import TrainingConfig
    from methods.base import Method

Evaluate = Callable[[], dict[str, float]]
"""Metrics of the split that selects, by name; raises Diverged on scores that are not numbers."""


@dataclass
class Fit:
    """What happened in training.

    Attributes:
        best_epoch: 1-based epoch whose parameters the student holds now.
        curve: one entry per epoch: mean of every loss term, selection metrics, seconds.
        steps: optimiser steps taken.
    """

    best_epoch: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    steps: int = 0

    @property
    def epochs(self) -> int:
        return len(self.curve)


@dataclass(frozen=True)
class Streams:
    """Independent sources of randomness of one trial, the same for all methods of a cell."""

    order: torch.Generator
    negatives: torch.Generator
    method: torch.Generator


def fit(
    student: RecBoleStudent,
    method: Method,
    rows: DeviceRows,
    target_counts: Tensor,
    config: TrainingConfig,
    streams: Streams,
    evaluate: Evaluate,
    progress: Callable[[str], None],
) -> Fit:
    """Train until the selection metric has stopped improving; leave the best parameters in place.

    Raises:
        Diverged: a loss term or a score became NaN or infinite.
    """
    step = _Step(student, method, rows, target_counts, config, streams)
    # A method may hold dropout of its own: it goes in and out of training with the student.
    trained_together = nn.ModuleList([student, method])
    best = _Best(trained_together, config)
    result = Fit()
    while result.epochs < config.max_epochs and not best.exhausted(result.epochs):
        epoch = result.epochs + 1
        started = time.perf_counter()
        means, steps = _epoch(step, epoch)
        trained = time.perf_counter()
        trained_together.eval()
        metrics = evaluate()
        finished = time.perf_counter()
        result.steps += steps
        result.curve.append(
            {"epoch": epoch, **means, **metrics}
            | {"train_seconds": trained - started, "evaluate_seconds": finished - trained}
        )
        best.offer(epoch, metrics[config.select])
        progress(
            f"epoch {epoch}: loss {means['loss']:.4f}, {config.select} "
            f"{metrics[config.select]:.4f} (best {best.value:.4f} at {best.epoch}), "
            f"{finished - started:.1f} s"
        )
    best.restore()
    result.best_epoch = best.epoch
    return result


class _Step:
    """One optimiser step on one batch, with everything resident on the device."""

    def __init__(
        self,
        student: RecBoleStudent,
        method: Method,
        rows: DeviceRows,
        target_counts: Tensor,
        config: TrainingConfig,
        streams: Streams,
    ) -> None:
        self.student, self.method, self.rows = student, method, rows
        self.config, self.streams = config, streams
        self.objective = make_objective(config, target_counts)
        self.buffers = BlockBuffers()
        parameters = [*student.parameters(), *method.parameters()]
        self.optimiser = torch.optim.Adam(
            parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )

    def batches(self) -> Iterator[Tensor]:
        return shuffled(len(self.rows), self.config.batch_size, self.streams.order)

    def __call__(self, row_id: Tensor) -> dict[str, Tensor]:
        batch = self._batch(row_id.to(self.rows.target.device, non_blocking=True))
        hidden = self.student.encode(batch.history, batch.length, batch.user)
        output = StepOutput(hidden, self.student.item_table(), self.buffers)
        terms = {"base": self.objective(batch, output)}
        penalty = self.student.penalty()
        if penalty is not None:
            terms["penalty"] = penalty
        terms |= self.method.loss(batch, output)
        loss = sum(terms.values(), torch.zeros((), device=hidden.device))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.detach()} | {name: term.detach() for name, term in terms.items()}

    def _batch(self, row_id: Tensor) -> Batch:
        rows = self.rows
        history, target = rows.history[row_id], rows.target[row_id]
        negative = None
        if self.config.objective in NEEDS_NEGATIVE:
            negative = sample_negatives(
                history, target, self.student.n_items, self.streams.negatives
            )
        return Batch(
            row_id=row_id,
            history=history,
            length=rows.length[row_id],
            target=target,
            user=rows.user[row_id],
            negative=negative,
            generator=self.streams.method,
        )


def _epoch(step: _Step, epoch: int) -> tuple[dict[str, float], int]:
    """One pass over the rows: mean of every term, and the number of steps."""
    step.student.train()
    step.method.train()
    sums: dict[str, Tensor] = {}
    steps = 0
    for row_id in step.batches():
        for name, value in step(row_id).items():
            # Summed on the device: the host waits once an epoch, not once a step.
            sums[name] = sums[name] + value if name in sums else value
        steps += 1
    means = {name: float(total) / steps for name, total in sums.items()}
    broken = [name for name, mean in means.items() if not math.isfinite(mean)]
    if broken:
        raise Diverged(f"loss term '{broken[-1]}' became {means[broken[-1]]} in epoch {epoch}")
    return means, steps


class _Best:
    """Keeps the parameters of the best epoch and says when to stop."""

    def __init__(self, modules: nn.Module, config: TrainingConfig) -> None:
        self.modules, self.config = modules, config
        self.epoch, self.value = 0, -math.inf
        self._state: dict[str, Any] = {}

    def offer(self, epoch: int, value: float) -> None:
        if value > self.value:
            self.epoch, self.value = epoch, value
            self._state = {k: v.detach().clone() for k, v in self.modules.state_dict().items()}

    def exhausted(self, epochs: int) -> bool:
        waited = epochs - self.epoch
        return epochs >= self.config.min_epochs and waited >= self.config.patience

    def restore(self) -> None:
        self.modules.load_state_dict(self._state)
