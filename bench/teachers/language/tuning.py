"""Low-rank adapters of a causal language model: tuned once, kept, and switched on where wanted."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from bench.errors import BenchError, ConfigError
from bench.folders import locked, replaced
from bench.plan import digest, seed_of
from bench.progress import track
from bench.teachers.language.loading import LanguageModel, peft_package
from bench.teachers.language.resume import folder_of
from bench.teachers.weights import quiet
from bench.training.state import read, write

_logger = logging.getLogger(__name__)

COURSE, STATE = "course.json", "tuning.state"
SECONDS_BETWEEN_STATES = 30.0
"""What a tuning that is killed loses, at most, beside the step it is at."""

_LONGEST_GRADIENT = 1.0


class TuningOptions(BaseModel):
    """How the adapters are tuned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: PositiveInt = 8
    alpha: PositiveFloat = Field(16, description="the adapters' output counts alpha / rank")
    dropout: float = Field(0.05, ge=0, lt=1, description="of the adapters' input")
    modules: tuple[str, ...] = Field(
        ("q_proj", "v_proj"), min_length=1, description="names of the linear layers with an adapter"
    )
    learning_rate: PositiveFloat = Field(1e-4, description="peak; falls linearly to 0")
    warm_up_steps: NonNegativeInt = 20
    batch_size: PositiveInt = Field(128, description="rows of a step")
    micro_batch_size: PositiveInt = Field(4, description="rows that are in memory at once")
    epochs: NonNegativeInt = Field(50, description="passes over the sample, at most; 0: no tuning")
    patience: PositiveInt = Field(5, description="epochs without a smaller held-out loss")


_Example = TypeVar("_Example", contravariant=True)


class Objective(Protocol[_Example]):
    """What adapters are tuned for."""

    @property
    def head(self) -> nn.Module:
        """What is tuned with them, and not kept; it may have no parameters."""

    def loss(self, examples: Sequence[_Example]) -> Tensor:
        """Summed loss of examples under the model as it is."""

    def count(self, example: _Example) -> int:
        """How many losses an example adds to the sum."""

    def tokens(self, example: _Example) -> int:
        """How long an example is."""


@dataclass(frozen=True)
class Adapter:
    """Tuned adapters.

    Attributes:
        identity: what tells them from all others.
        folder: where peft finds them.
        course: how they came about, for the manifest.
    """

    identity: str
    folder: Path
    course: dict[str, Any]


def tuned(
    language: LanguageModel,
    objective: Objective[Any],
    examples: Sequence[Any],
    held_out: Sequence[Any],
    options: TuningOptions,
    seed: int,
    inputs: dict[str, Any],
    cache: Path,
) -> Adapter:
    """Tune adapters, or take those that were tuned from the same inputs before.

    A tuning that was killed goes on from its last state, to the same bits.

    Args:
        language: the model, left as it is.
        objective: what is made small.
        examples: what is learned from.
        held_out: what the epoch is chosen by: that of the smallest loss.
        options: of the tuning.
        seed: of initial values, order and dropout.
        inputs: whatever else determines the result, the examples too, as JSON values.
        cache: folder of what is costly and can be computed again.

    Raises:
        ConfigError: peft is not installed, or the model has no layers of these names.
        BenchError: the loss became NaN or infinite.
    """
    inputs = {**inputs, "tuning": options.model_dump(mode="json"), "seed": seed}
    folder = folder_of(cache, "adapter", inputs) / "adapter"
    state = folder.parent / STATE
    with locked(folder):
        if not folder.is_dir():
            with adapted(language, options, seed) as model:
                tuning = _Tuning(model, language.name, objective, options)
                course = tuning.run(examples, held_out, seed, state)
                with quiet(), replaced(folder) as temporary:
                    model.save_pretrained(str(temporary))
                    (temporary / COURSE).write_text(json.dumps(course))
        state.unlink(missing_ok=True)
    return Adapter(digest(inputs), folder, json.loads((folder / COURSE).read_text()))


@contextlib.contextmanager
def adapted(language: LanguageModel, options: TuningOptions, seed: int) -> Iterator[Any]:
    """The model with new adapters, which change nothing yet; without them again afterwards."""
    peft = peft_package()
    config = peft.LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=list(options.modules),
        bias="none",
        task_type="CAUSAL_LM",
    )
    with quiet(), torch.random.fork_rng():
        torch.manual_seed(seed_of(seed, "adapter", "initial values"))
        try:
            model = peft.get_peft_model(language.model, config)
        except ValueError as error:
            raise ConfigError(
                f"language model '{language.name}' has no layers called "
                f"{', '.join(options.modules)} ('tuning.modules')"
            ) from error
    with _unloaded(model):
        yield model


@contextlib.contextmanager
def with_adapter(language: LanguageModel, folder: Path) -> Iterator[None]:
    """The model is the tuned one inside, and the one that was loaded before and after."""
    with quiet():
        model = peft_package().PeftModel.from_pretrained(language.model, str(folder))
    with _unloaded(model):
        model.eval()
        yield


@contextlib.contextmanager
def _unloaded(model: Any) -> Iterator[None]:
    try:
        yield
    finally:
        model.unload().eval().requires_grad_(False)


@dataclass(frozen=True)
class _Tuning:
    """A model with new adapters, and what these are tuned for."""

    model: Any
    name: str
    objective: Objective[Any]
    options: TuningOptions

    def run(
        self, examples: Sequence[Any], held_out: Sequence[Any], seed: int, file: Path
    ) -> dict[str, Any]:
        """Tune the adapters and leave them as they were after the best epoch.

        Args:
            examples: what is learned from.
            held_out: what the epoch is chosen by.
            seed: of order and dropout.
            file: keeps the state, from which a later call goes on with the same bits.
        """
        options = self.options
        learned = [one for one in self.model.parameters() if one.requires_grad]
        run = _Run([*learned, *self.objective.head.parameters()], options, file)
        per_epoch = -(-len(examples) // options.batch_size)
        factor = _warm_up_and_decay(options.warm_up_steps, per_epoch * options.epochs)
        order = np.random.default_rng(seed_of(seed, "adapter", "order"))
        if not run.losses:
            run.judge(self._mean_loss(held_out))
        _logger.info(
            f"tuning on {len(examples):,} rows; loss of {len(held_out):,} others "
            f"{run.losses[0]:.4f}"
            + (f"; {run.step} steps are there from before" if run.step else "")
        )
        passes, steps = divmod(run.step, per_epoch)
        left = (options.epochs - passes) * len(examples) - steps * options.batch_size
        with torch.random.fork_rng(), track("tuning, at most", left, "rows") as advance:
            for epoch in range(1, options.epochs + 1):
                batches = parts(order.permutation(len(examples)).tolist(), options.batch_size)
                self._is_training(True)
                for step, batch in enumerate(batches, start=(epoch - 1) * per_epoch):
                    if step < run.step:
                        continue
                    torch.manual_seed(seed_of(seed, "adapter", f"dropout of step {step}"))
                    self._backward([examples[row] for row in batch], advance)
                    run.advance(factor(step))
                if epoch == len(run.losses):
                    run.judge(self._mean_loss(held_out))
                    self._check(run.losses[-1], epoch)
                    run.keep()
                if epoch - int(np.argmin(run.losses)) >= options.patience:
                    break
        run.choose()
        return {
            "rows_learned_from": len(examples),
            "rows_held_out": len(held_out),
            "best_epoch": int(np.argmin(run.losses)),
            "held_out_loss_from_epoch_0": [round(value, 5) for value in run.losses],
        }

    def _backward(self, chosen: Sequence[Any], advance: Callable[[int], None]) -> None:
        """Leave the gradient of the mean loss of a batch in the parameters."""
        count = sum(map(self.objective.count, chosen))
        for part in self._of_like_length(chosen):
            (self.objective.loss(part) / count).backward()
            advance(len(part))

    @torch.no_grad()
    def _mean_loss(self, examples: Sequence[Any]) -> float:
        self._is_training(False)
        total = 0.0
        with track("held-out loss", len(examples), "rows") as advance:
            for part in self._of_like_length(examples):
                total += float(self.objective.loss(part))
                advance(len(part))
        return total / sum(map(self.objective.count, examples))

    def _of_like_length(self, examples: Sequence[Any]) -> list[Sequence[Any]]:
        """Parts that are in memory at once, in which little is padding; the longest first."""
        longest_first = sorted(examples, key=lambda one: -self.objective.tokens(one))
        return parts(longest_first, self.options.micro_batch_size)

    def _is_training(self, wanted: bool) -> None:
        self.model.train(wanted)
        self.objective.head.train(wanted)

    def _check(self, loss: float, epoch: int) -> None:
        if not np.isfinite(loss):
            raise BenchError(
                f"language model '{self.name}': the loss became {loss} in epoch {epoch}; "
                "lower 'tuning.learning_rate'"
            )
        _logger.info(f"tuning epoch {epoch}: held-out loss {loss:.4f}")


class _Run:
    """A tuning as it stands, and the file from which another process takes it up.

    Attributes:
        step: steps of the optimiser that are done.
        losses: held-out loss before tuning and after every epoch.
    """

    def __init__(self, parameters: list[Tensor], options: TuningOptions, file: Path) -> None:
        self.step, self.losses = 0, list[float]()
        self._parameters, self._file, self._kept = parameters, file, time.monotonic()
        self._best = _copy(parameters)
        self._rate = options.learning_rate
        self._optimiser = torch.optim.AdamW(parameters, lr=self._rate, weight_decay=0.0)
        if file.is_file():
            self._take_up()

    def advance(self, factor: float) -> None:
        """One step of the optimiser, at this part of the learning rate."""
        torch.nn.utils.clip_grad_norm_(self._parameters, _LONGEST_GRADIENT)
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate * factor
        self._optimiser.step()
        self._optimiser.zero_grad()
        self.step += 1
        if time.monotonic() - self._kept >= SECONDS_BETWEEN_STATES:
            self.keep()

    def judge(self, loss: float) -> None:
        """The held-out loss of the adapters as they are."""
        self.losses.append(loss)
        if loss == min(self.losses):
            self._best = _copy(self._parameters)

    def choose(self) -> None:
        """Return to the adapters of the smallest held-out loss."""
        self._put(self._best)

    def keep(self) -> None:
        """Write the state."""
        state = {
            "step": self.step,
            "losses": self.losses,
            "best": self._best,
            "parameters": _copy(self._parameters),
            "optimiser": self._optimiser.state_dict(),
        }
        write(self._file, state, {})
        self._kept = time.monotonic()

    def _take_up(self) -> None:
        try:
            state, _ = read(self._file)
        except (OSError, ValueError) as error:
            _logger.warning(f"{self._file} cannot be used ({error}): tuning begins anew")
            return
        self.step, self.losses = state["step"], state["losses"]
        self._best = [
            value.to(one) for value, one in zip(state["best"], self._parameters, strict=True)
        ]
        self._put(state["parameters"])
        self._optimiser.load_state_dict(state["optimiser"])

    @torch.no_grad()
    def _put(self, values: Sequence[Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.copy_(value)


def parts(rows: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """Rows in their order, at most `size` at a time."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _copy(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in parameters]


def _warm_up_and_decay(warm_up: int, steps: int) -> Callable[[int], float]:
    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / (warm_up + 1)
        return max(0.0, (steps - step) / max(1, steps - warm_up))

    return factor
