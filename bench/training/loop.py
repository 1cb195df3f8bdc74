"""The training loop: one for every student, method, objective and device."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from bench.distillation import Batch, Stage
from bench.errors import ConfigError, Diverged
from bench.progress import track
from bench.training.allocator import keep_freed_memory
from bench.training.negatives import sample_negatives, shared_negatives
from bench.training.output import BlockBuffers, StepOutput
from bench.training.precision import encoding, factors, products
from bench.training.replay import CudaGraphs, Replayed, Take, Terms
from bench.training.rows import DeviceRows, Portion, RowByRow
from bench.training.state import Attributes, Checkpoint, Generators, State
from bench.training.windows import Windows

if TYPE_CHECKING:
    from bench.distillation import Method
    from bench.students.adapter import Adapter
    from bench.training.config import TrainingConfig

_logger = logging.getLogger(__name__)

T = TypeVar("T")

Evaluate = Callable[[], dict[str, float]]
"""Metrics of the split that selects, by name; raises Diverged on scores that are not numbers."""


@dataclass
class Fit:
    """What happened in training.

    Attributes:
        best_epoch: 1-based epoch, all stages counted, whose parameters the student holds now.
        curve: one entry per epoch: its stage (from 1), mean of every loss term, selection metrics,
            seconds of the clock, and of all processors while training.
        steps: optimiser steps taken.
        seconds_before: of the attempts whose state this one went on from.
        epochs_without_dropout: at the end of how many the student was not in training mode.
    """

    best_epoch: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    steps: int = 0
    seconds_before: float = 0.0
    epochs_without_dropout: int = 0

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
    student: Adapter,
    method: Method,
    rows: DeviceRows,
    target_counts: Tensor,
    config: TrainingConfig,
    streams: Streams,
    evaluate: Evaluate,
    checkpoint: Checkpoint | None = None,
) -> Fit:
    """Train stage by stage; leave the best parameters of the last one in place.

    A stage ends when what monitors it has stopped improving: the selection metric, or the stage's
    own monitor. The next one starts from its best epoch. A training that goes on from the state
    of a `checkpoint` has the same bits as one that was never interrupted.

    Raises:
        Diverged: a loss term or a score became NaN or infinite.
    """
    result = Fit()
    step = _Step(student, method, rows, target_counts, config, streams)
    moment = _Moment(step, result)
    kept = None if checkpoint is None else checkpoint.load()
    try:
        for number, stage in enumerate(method.stages(), start=1):
            method.on_stage_start(number - 1)
            if kept is not None and number < kept["stage"]:
                continue
            limits = _Limits.of(stage, config)
            best = Best(step.modules, limits.min_delta)
            with (
                step.trains(stage),
                track("", limits.max_epochs, "epochs", logged=False) as advance,
            ):
                done = 0 if kept is None else moment.restore(kept, best)
                before, kept = result.epochs - done, None
                advance(done)
                for epoch in range(done + 1, limits.max_epochs + 1):
                    line, value, trained = _epoch(step, epoch, limits.max_epochs, evaluate)
                    result.epochs_without_dropout += not trained
                    result.curve.append({"epoch": before + epoch, "stage": number, **line})
                    best.offer(epoch, value, method.curriculum_finished)
                    monitored = "" if stage.monitor is None else f", monitor {value:.4f}"
                    advance(1)
                    _logger.debug(
                        f"epoch {before + epoch}: loss {line['loss']:.4f}, {config.select} "
                        f"{line[config.select]:.4f}{monitored} (best {best.value:.4f} at "
                        f"{before + best.epoch}), "
                        f"{line['train_seconds'] + line['evaluate_seconds']:.1f} s"
                    )
                    if epoch >= limits.min_epochs and best.waited(epoch) >= limits.patience:
                        break
                    if checkpoint is not None:
                        checkpoint.offer(functools.partial(moment.state, number, epoch, best))
            best.restore()
            result.best_epoch = before + best.epoch
    except Diverged as error:
        raise Diverged(f"{error} in epoch {result.epochs + 1}", result.curve) from error
    result.steps = step.taken
    return result


def _epoch(
    step: _Step, number: int, max_epochs: int, evaluate: Evaluate
) -> tuple[dict[str, float], float, bool]:
    """One pass over the examples of a stage, and its evaluation.

    Args:
        step: takes the steps.
        number: of the epoch in its stage, from 1.
        max_epochs: of the stage.
        evaluate: see `fit`.

    Returns:
        Means of the loss terms, metrics and seconds, by name; the value that the epoch is
        chosen by, larger is better; whether the student was in training mode to the end.
    """
    started, cpu_started = time.perf_counter(), time.process_time()
    step.modules.train()
    numbers = step.method.on_epoch_start(number, max_epochs)
    sums: dict[str, Tensor] = {}
    before, take = step.taken, step.of_an_epoch()
    for portion in step.batches():
        for name, value in take(portion).items():
            # Summed on the device: the host waits once an epoch, not once a step.
            sums[name] = sums.get(name, 0) + value
        step.taken += 1
    means = _means(sums, step.taken - before)
    trained, cpu_seconds = time.perf_counter(), time.process_time() - cpu_started
    in_training = all(module.training for module in step.student.modules())
    step.modules.eval()
    metrics = evaluate()
    monitor = step.stage.monitor
    monitored = metrics[step.config.select] if monitor is None else _monitored(monitor)
    seconds = {
        "train_seconds": trained - started,
        "evaluate_seconds": time.perf_counter() - trained,
        "train_cpu_seconds": cpu_seconds,
    }
    return {**numbers, **means, **metrics, **seconds}, monitored, in_training


def _means(sums: dict[str, Tensor], steps: int) -> dict[str, float]:
    if steps == 0:
        raise ConfigError("a stage of the method has no rows to train on (see its `stages`)")
    means = {name: float(total) / steps for name, total in sums.items()}
    broken = [name for name, mean in means.items() if not math.isfinite(mean)]
    if broken:
        raise Diverged(f"loss term '{broken[-1]}' became {means[broken[-1]]}")
    return means


@dataclass(frozen=True)
class _Limits:
    """When a stage ends."""

    max_epochs: int
    min_epochs: int
    patience: int
    min_delta: float

    @classmethod
    def of(cls, stage: Stage, config: TrainingConfig) -> _Limits:
        longest = _or(stage.max_epochs, config.max_epochs)
        return cls(
            max_epochs=longest,
            min_epochs=min(longest, _or(stage.min_epochs, config.min_epochs)),
            patience=_or(stage.patience, config.patience),
            # What a stage monitors itself has a unit of its own.
            min_delta=config.min_delta if stage.monitor is None else 0.0,
        )


class _Step:
    """One optimiser step on one batch, with everything resident on the device."""

    def __init__(
        self,
        student: Adapter,
        method: Method,
        rows: DeviceRows,
        target_counts: Tensor,
        config: TrainingConfig,
        streams: Streams,
    ) -> None:
        keep_freed_memory()
        self.student, self.method, self.rows = student, method, rows
        self.config, self.streams = config, streams
        # A method may hold dropout of its own: it goes in and out of training with the student.
        self.modules = nn.ModuleList([student, method])
        self.taken = 0
        self.objective = student.objective.make(config, target_counts, student)
        self.buffers = BlockBuffers()
        self.stage = Stage()
        self.device = rows.target.device
        self.recorder = None
        if config.cuda_graphs:
            self.recorder = CudaGraphs(self.device, [streams.negatives, streams.method])

    @contextlib.contextmanager
    def trains(self, stage: Stage) -> Iterator[None]:
        """Steps of one stage: its parameters alone are trained, by an optimiser of its own."""
        everything = [p for m in (self.student, self.method) for p in m.parameters()]
        trained = [
            p for p in (everything if stage.trained is None else stage.trained) if p.requires_grad
        ]
        frozen = set(everything) - set(trained)
        wanted = {parameter: parameter.requires_grad for parameter in frozen}
        for parameter in frozen:
            parameter.requires_grad_(False)
        self.stage = stage
        self.passes = _passes(self.config.positions, self.rows, stage.rows)
        self.optimiser = torch.optim.Adam(
            trained,
            lr=_or(stage.learning_rate, self.config.learning_rate),
            weight_decay=_or(stage.weight_decay, self.config.weight_decay),
            fused=True,
            capturable=self.config.cuda_graphs,
        )
        try:
            yield
        finally:
            for parameter, wants in wanted.items():
                parameter.requires_grad_(wants)

    def batches(self) -> Iterator[Portion]:
        """One pass over the rows of the stage, in an order drawn on the CPU for every device."""
        return self.passes.batches(self.config.batch_size, self.streams.order)

    def of_an_epoch(self) -> Take:
        """How the steps of one epoch are taken."""
        if self.recorder is None:
            return self
        return Replayed(self, self.config.batch_size, self.recorder)

    def __call__(self, portion: Portion) -> Terms:
        with products(self.config.precision):
            batch = self._batch(portion.row_id)
            self.student.begin_step()
            with encoding(self.config.precision, self.device):
                hidden = self._encoded(portion, batch).float()
            output = StepOutput(
                hidden,
                self.student,
                self.buffers,
                batch.target,
                self.config.dros_temperature,
                factors(self.config.precision),
                batch.history if self.config.seen == "mask" else None,
            )
            sources = [self._base] if self.stage.base else []
            # After a method's list has its robust term, the objective's needs no sweep of its own.
            place = 0 if self.student.objective.is_robust else len(sources)
            sources.insert(place, self.method.loss)
            terms: dict[str, Tensor] = {}
            for source in sources:
                terms |= self._checked(source(batch, output), terms)
            loss = sum(terms.values(), torch.zeros((), device=hidden.device))
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.optimiser.step()
            return {"loss": loss.detach()} | {name: term.detach() for name, term in terms.items()}

    def _encoded(self, portion: Portion, batch: Batch) -> Tensor:
        student: Any = self.student  # what is asked of it, it can: `bench.students.abilities`
        if portion.window is None or portion.place is None:
            encode = student.encode_in_parts if self.config.checkpointing else student.encode
            return encode(batch.history, batch.length, batch.user)
        return student.encode_at(self.rows.history[portion.window], portion.place)

    def _checked(self, found: object, others: Collection[str]) -> dict[str, Tensor]:
        """The terms that a loss returned.

        Raises:
            ConfigError: they are not scalars by name, or a name is among `others`.
        """
        loss = f"{type(self.method).__name__}.loss"
        if not isinstance(found, dict):
            raise ConfigError(
                f"{loss} must return a dict of terms by name, and returned a {type(found).__name__}"
            )
        if taken := found.keys() & {*others, "loss"}:
            raise ConfigError(
                f"{loss} has a term '{sorted(taken)[0]}', and so has the suite: give it another "
                "name"
            )
        for name, term in found.items():
            if not isinstance(term, Tensor) or term.dim() > 0:
                kind = tuple(term.shape) if isinstance(term, Tensor) else type(term).__name__
                raise ConfigError(
                    f"{loss}: term '{name}' must be a tensor of one number, such as "
                    f"`(...).mean()`, and is {kind}"
                )
        return found

    def _base(self, batch: Batch, output: StepOutput) -> dict[str, Tensor]:
        penalty = self.student.penalty()
        terms = {"base": self.objective(batch, output)}
        return terms if penalty is None else terms | {"penalty": penalty}

    def _batch(self, row_id: Tensor) -> Batch:
        batch = Batch.of(self.rows, row_id, self.streams.method)
        objective, config = self.student.objective, self.config
        if objective.shares_negatives:
            drawn = (self.student.n_items, config.proposal, self.streams.negatives)
            shared = shared_negatives(batch.target, config.negatives, *drawn)
            batch = replace(batch, shared=shared)
        if not objective.samples_negatives:
            return batch
        negative = sample_negatives(
            batch.history, batch.target, self.student.n_items, self.streams.negatives
        )
        return replace(batch, negative=negative)


def _passes(positions: str, rows: DeviceRows, chosen: Tensor | None) -> RowByRow | Windows:
    if positions == "last":
        return RowByRow(rows, chosen)
    size = rows.history.shape[1]
    return Windows(rows, chosen, {"half": (size + 1) // 2, "all": size}[positions])


def _monitored(monitor: Callable[[], float]) -> float:
    with torch.no_grad():
        value = monitor()
    if not math.isfinite(value):
        raise Diverged(f"the monitor of a stage says {value}")
    return value


class Best:
    """Keeps the parameters of the best epoch and says how long ago the last clear gain was.

    Args:
        modules: whose parameters are kept.
        min_delta: least gain that is waited for.
    """

    def __init__(self, modules: nn.Module, min_delta: float) -> None:
        self.modules, self.min_delta = modules, min_delta
        self.epoch, self.value = 0, -math.inf
        self._gained, self._reached = 0, -math.inf
        self._curriculum_end = 0
        self._state: dict[str, Any] = {}

    def offer(self, epoch: int, value: float, curriculum_finished: bool) -> None:
        if not curriculum_finished:
            self._curriculum_end = epoch
        if value > self._reached + self.min_delta:
            self._gained, self._reached = epoch, value
        if value > self.value:
            self.epoch, self.value = epoch, value
            self._state = {k: v.detach().clone() for k, v in self.modules.state_dict().items()}

    def waited(self, epoch: int) -> int:
        """Epochs since the last gain, or since the end of a curriculum."""
        return epoch - max(self._gained, self._curriculum_end)

    def restore(self) -> None:
        self.modules.load_state_dict(self._state)

    def state(self) -> State:
        return {name: value for name, value in vars(self).items() if name != "modules"}

    def load(self, state: State) -> None:
        vars(self).update(state)


class _Moment:
    """The end of an epoch, as a state from which training can go on."""

    def __init__(self, step: _Step, result: Fit) -> None:
        self.step, self.result = step, result
        streams = step.streams
        self.generators = Generators(
            [streams.order, streams.negatives, streams.method], step.device
        )
        self.attributes = Attributes(step.method, step.student)
        self.started = time.perf_counter()

    def state(self, stage: int, epoch: int, best: Best) -> State:
        """All that later epochs depend on.

        Args:
            stage: its number, from 1.
            epoch: the last one that was trained, counted from 1 within its stage.
            best: what is known of the stage's best epoch.

        Raises:
            TypeError: the method holds something that cannot be kept.
        """
        return {
            "stage": stage,
            "epoch": epoch,
            "steps": self.step.taken,
            "curve": self.result.curve,
            "without_dropout": self.result.epochs_without_dropout,
            "seconds": self.result.seconds_before + time.perf_counter() - self.started,
            "best": best.state(),
            "modules": dict(self.step.modules.state_dict()),
            "optimiser": self.step.optimiser.state_dict(),
            "generators": self.generators.state(),
            "attributes": self.attributes.changed(),
        }

    def restore(self, state: State, best: Best) -> int:
        """Go back to a state, within its stage; returns its epoch."""
        self.step.taken = state["steps"]
        self.result.curve[:] = state["curve"]
        self.result.epochs_without_dropout = state["without_dropout"]
        self.result.seconds_before = state["seconds"]
        best.load(state["best"])
        self.step.modules.load_state_dict(state["modules"])
        self.step.optimiser.load_state_dict(state["optimiser"])
        self.attributes.restore(state["attributes"])
        self.generators.restore(state["generators"])
        epoch: int = state["epoch"]
        return epoch


def _or(choice: T | None, otherwise: T) -> T:
    return otherwise if choice is None else choice
