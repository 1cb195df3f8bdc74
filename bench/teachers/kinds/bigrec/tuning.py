"""Low-rank adapters of a causal language model: tuned once, kept, and switched on where wanted."""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn import functional

from bench.errors import BenchError, ConfigError
from bench.files import write_whole
from bench.folders import locked, replaced
from bench.plan import digest, seed_of
from bench.progress import track
from bench.teachers.kinds.bigrec.instructions import Tokens, tokens_digest
from bench.teachers.language.loading import LanguageModel, peft_package
from bench.teachers.language.resume import folder_of
from bench.teachers.weights import quiet
from bench.training.state import read, written

_logger = logging.getLogger(__name__)

COURSE, STATE = "course.json", "tuning.state"
SECONDS_BETWEEN_STATES = 30.0
"""What a tuning that is killed loses, at most, beside the step it is at."""

_IGNORED = -100
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
    rows: PositiveInt | None = Field(1024, description="sample to learn from; null takes all rows")
    whole_text: bool = Field(True, description="learn prompt and title, not the title alone")


@dataclass(frozen=True)
class Example:
    """A prompt and its right answer, as tokens."""

    prompt: Tokens
    answer: Tokens


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
    examples: Sequence[Example],
    held_out: Sequence[Example],
    options: TuningOptions,
    seed: int,
    inputs: dict[str, Any],
    cache: Path,
) -> Adapter:
    """Tune adapters, or take those that were tuned from the same inputs before.

    A tuning that was killed goes on from its last state, to the same bits.

    Args:
        language: the model, left as it is.
        examples: what is learned from.
        held_out: what the epoch is chosen by: that of the smallest loss.
        options: of the tuning.
        seed: of initial values, order and dropout.
        inputs: whatever else determines the result, as JSON values.
        cache: folder of what is costly and can be computed again.

    Raises:
        ConfigError: peft is not installed, or the model has no layers of these names.
        BenchError: the loss became NaN or infinite.
    """
    texts = [
        tokens_digest([text for one in part for text in (one.prompt, one.answer)])
        for part in (examples, held_out)
    ]
    inputs = {**inputs, "tuning": options.model_dump(mode="json"), "seed": seed, "texts": texts}
    folder = folder_of(cache, "adapter", inputs) / "adapter"
    state = folder.parent / STATE
    with locked(folder):
        if not folder.is_dir():
            with adapted(language, options, seed) as model:
                course = _tune(model, language, examples, held_out, options, seed, state)
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


def _tune(
    model: Any,
    language: LanguageModel,
    examples: Sequence[Example],
    held_out: Sequence[Example],
    options: TuningOptions,
    seed: int,
    file: Path,
) -> dict[str, Any]:
    """Tune the adapters of `model` and leave them as they were after the best epoch.

    Args:
        model: with new adapters.
        language: the model without peft around it.
        examples: what is learned from.
        held_out: what the epoch is chosen by.
        options: of the tuning.
        seed: of order and dropout.
        file: keeps the state, from which a later call goes on with the same bits.
    """
    run = _Run([one for one in model.parameters() if one.requires_grad], options, file)
    per_epoch = -(-len(examples) // options.batch_size)
    factor = _warm_up_and_decay(options.warm_up_steps, per_epoch * options.epochs)
    order = np.random.default_rng(seed_of(seed, "adapter", "order"))
    if not run.losses:
        run.judge(_mean_loss(model, language, held_out, options))
    _logger.info(
        f"tuning on {len(examples):,} rows; loss of {len(held_out):,} others {run.losses[0]:.4f}"
        + (f"; {run.step} steps are there from before" if run.step else "")
    )
    passes, steps = divmod(run.step, per_epoch)
    left = (options.epochs - passes) * len(examples) - steps * options.batch_size
    with torch.random.fork_rng(), track("tuning, at most", left, "rows") as advance:
        for epoch in range(1, options.epochs + 1):
            batches = _parts(order.permutation(len(examples)).tolist(), options.batch_size)
            model.train()
            for step, batch in enumerate(batches, start=(epoch - 1) * per_epoch):
                if step < run.step:
                    continue
                torch.manual_seed(seed_of(seed, "adapter", f"dropout of step {step}"))
                chosen = [examples[row] for row in batch]
                count = sum(_learned(one, options) for one in chosen)
                for part in _of_like_length(chosen, options.micro_batch_size):
                    (_loss(model, language, part, options) / count).backward()
                    advance(len(part))
                run.advance(factor(step))
            if epoch == len(run.losses):
                run.judge(_mean_loss(model, language, held_out, options))
                if not np.isfinite(run.losses[-1]):
                    raise BenchError(
                        f"language model '{language.name}': the loss became {run.losses[-1]} in "
                        f"epoch {epoch}; lower 'tuning.learning_rate'"
                    )
                _logger.info(f"tuning epoch {epoch}: held-out loss {run.losses[-1]:.4f}")
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
        write_whole(self._file, written(state, {}))
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


@torch.no_grad()
def _mean_loss(
    model: Any, language: LanguageModel, examples: Sequence[Example], options: TuningOptions
) -> float:
    """Mean cross entropy of the learned tokens."""
    model.eval()
    total = 0.0
    with track("held-out loss", len(examples), "rows") as advance:
        for part in _of_like_length(examples, options.micro_batch_size):
            total += float(_loss(model, language, part, options))
            advance(len(part))
    return total / sum(_learned(one, options) for one in examples)


def _loss(
    model: Any, language: LanguageModel, examples: Sequence[Example], options: TuningOptions
) -> Tensor:
    """Summed cross entropy of the learned tokens; no logits are computed before the first."""
    batch = language.batch([np.append(one.prompt, one.answer) for one in examples], "right")
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, _IGNORED)
    if not options.whole_text:
        for row, one in enumerate(examples):
            labels[row, : len(one.prompt)] = _IGNORED
    first = 0 if options.whole_text else min(len(one.prompt) for one in examples) - 1
    places = torch.arange(first, labels.shape[1] - 1, device=labels.device)
    if "logits_to_keep" in inspect.signature(language.model.forward).parameters:
        logits = model(**batch, use_cache=False, logits_to_keep=places).logits
    else:  # a model of another kind, or an older transformers
        logits = model(**batch, use_cache=False).logits[:, places]
    return functional.cross_entropy(
        logits.float().flatten(0, 1),
        labels[:, first + 1 :].flatten(),
        ignore_index=_IGNORED,
        reduction="sum",
    )


def _learned(example: Example, options: TuningOptions) -> int:
    """Tokens of an example that are learned: the first one is never predicted."""
    prompt = len(example.prompt) - 1 if options.whole_text else 0
    return prompt + len(example.answer)


def _parts(rows: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _of_like_length(examples: Sequence[Example], size: int) -> list[Sequence[Example]]:
    """Parts of at most `size` examples, in which little is padding; the longest first."""
    return _parts(sorted(examples, key=lambda one: -len(one.prompt) - len(one.answer)), size)


def _copy(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in parameters]


def _warm_up_and_decay(warm_up: int, steps: int) -> Callable[[int], float]:
    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / (warm_up + 1)
        return max(0.0, (steps - step) / max(1, steps - warm_up))

    return factor
