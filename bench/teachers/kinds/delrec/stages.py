"""A stage of training: steps, looks at rows held out, and a state that outlives its process."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from bench.errors import BenchError
from bench.files import write_whole
from bench.plan import seed_of
from bench.progress import track
from bench.teachers.kinds.delrec.lion import Lion

_logger = logging.getLogger(__name__)


class Schedule(BaseModel):
    """How long and how fast a stage is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: PositiveInt = Field(description="steps of the optimiser")
    warm_up: float = Field(ge=0, lt=1, description="share of the steps in which the rate rises")
    learning_rate: PositiveFloat = Field(description="peak of the rate")
    weight_decay: NonNegativeFloat
    looks: PositiveInt = Field(10, description="times that the held out rows are looked at")

    def factor(self, step: int) -> float:
        """Part of the peak at step 0, 1, ...: rises to 1, then falls, and is never 0."""
        rising = self.warm_up * self.steps
        if step < rising:
            return (step + 1) / (rising + 1)
        return (self.steps - step) / (self.steps - rising)


class Stage(Protocol):
    """What a stage learns, and from what."""

    name: str
    parameters: Mapping[str, nn.Parameter]
    """What is learned, by name."""

    def begin(self, step: int) -> float:
        """Leave the gradients of step 0, 1, ... in the parameters; the loss."""

    def end(self, step: int) -> None:
        """The optimiser has stepped; the gradients are still there."""

    def held_out_loss(self) -> float:
        """Loss on rows that nothing is learned from."""

    def state(self) -> dict[str, Any]:
        """What is to be kept beside the parameters: tensors and numbers."""

    def restore(self, state: dict[str, Any]) -> None:
        """Return to what `state` gave."""


@dataclass(frozen=True)
class Work:
    """What is computed in a step and at a look.

    Attributes:
        batch_size: questions of a task in a step.
        at_once: questions that are computed at a time.
        looked_at: held out questions of a task, at most.
        seed: of rows and candidates.
    """

    batch_size: int
    at_once: int
    looked_at: int
    seed: int


def fit(stage: Stage, schedule: Schedule, file: Path, seed: int) -> dict[str, Any]:
    """Train a stage; the parameters are left as they were when the held out loss was least.

    Args:
        stage: what is trained. How it was before training is one of the states to choose from.
        schedule: how long and how fast.
        file: keeps the state at every look; a run that finds it goes on from there, to the same
            bits.
        seed: of all that is random in a step.

    Returns:
        The story, for a manifest.

    Raises:
        BenchError: the loss became NaN or infinite.
    """
    optimiser = Lion(stage.parameters.values(), schedule.learning_rate, schedule.weight_decay)
    kept = torch.load(file, weights_only=True, map_location="cpu") if file.is_file() else None
    if kept is None:
        losses, chosen = {0: stage.held_out_loss()}, _copied(stage)
    else:
        losses, chosen = kept["losses"], kept["chosen"]
        _put(stage, kept["parameters"])
        optimiser.load_state_dict(kept["optimiser"])
        stage.restore(kept["stage"])
        _logger.info(f"{stage.name}: the first {max(losses)} steps are there from before")
    looks = {round(schedule.steps * look / schedule.looks) for look in range(1, schedule.looks + 1)}
    first = max(losses)
    with track(stage.name, schedule.steps - first, "steps") as advance:
        for step in range(first, schedule.steps):
            torch.manual_seed(seed_of(seed, stage.name, f"step {step}"))
            for group in optimiser.param_groups:
                group["lr"] = schedule.learning_rate * schedule.factor(step)
            seen = _finite(stage.begin(step), stage, step)
            optimiser.step()
            stage.end(step)
            optimiser.zero_grad()
            advance(1)
            if step + 1 not in looks:
                continue
            judged = _finite(stage.held_out_loss(), stage, step)
            if judged < min(losses.values()):
                chosen = _copied(stage)
            losses[step + 1] = judged
            state = {
                "losses": losses,
                "chosen": chosen,
                "parameters": _copied(stage),
                "optimiser": optimiser.state_dict(),
                "stage": stage.state(),
            }
            write_whole(file, lambda stream, state=state: torch.save(state, stream))  # type: ignore[misc]
            _logger.info(
                f"{stage.name}: step {step + 1} of {schedule.steps}, loss {seen:.3f}, "
                f"held out {losses[step + 1]:.3f}"
            )
    _put(stage, chosen)
    return {
        "steps_of_best": min(losses, key=losses.__getitem__),
        "held_out_loss_by_step": {str(step): round(loss, 5) for step, loss in losses.items()},
    }


def batch_of(step: int, size: int, rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """The rows of step 0, 1, ... of endless passes in random order, each pass through all rows.

    Args:
        step: which batch.
        size: rows of a batch.
        rows: what is passed through.
        seed: of the orders.

    Returns:
        int64 [size].
    """
    places = range(step * size, (step + 1) * size)
    orders = {
        number: _order(number, len(rows), seed) for number in {p // len(rows) for p in places}
    }
    return np.array([rows[orders[place // len(rows)][place % len(rows)]] for place in places])


def parts(questions: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """Questions in their order, at most `size` at a time."""
    return [questions[start : start + size] for start in range(0, len(questions), size)]


def _finite(loss: float, stage: Stage, step: int) -> float:
    if not math.isfinite(loss):
        raise BenchError(
            f"{stage.name}: the loss became {loss} in step {step + 1}; lower its learning_rate"
        )
    return loss


def _order(number: int, count: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, number]).permutation(count)


def _copied(stage: Stage) -> dict[str, Tensor]:
    return {name: one.detach().cpu().clone() for name, one in stage.parameters.items()}


@torch.no_grad()
def _put(stage: Stage, values: Mapping[str, Tensor]) -> None:
    for name, parameter in stage.parameters.items():
        parameter.copy_(values[name])
